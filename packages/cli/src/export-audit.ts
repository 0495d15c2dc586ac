import { open } from "node:fs/promises";
import type { CairnClient } from "@cairn/client";
import { auditExportHeaderSchema, isCairnError, parseShape } from "@cairn/core";
import { fileFailure } from "./file-failure.ts";

/**
 * The lines of a node's audit export, page by page: never more than one page is in memory.
 * @param wait called with the milliseconds that the node asks to wait, where it limits the rate
 */
export async function* auditExportLines(
  client: Pick<CairnClient, "call">,
  wait: (ms: number) => Promise<void>,
): AsyncGenerator<readonly string[]> {
  const page = async (
    part: "header" | "manifests" | "checkpoints" | "anchors" | "entries",
    from: number,
    length?: number,
  ) => {
    for (;;) {
      try {
        return await client.call("exportAudit", {
          query: { part, from, ...(length === undefined ? {} : { length }) },
        });
      } catch (error) {
        if (!isCairnError(error, "rate-limited")) throw error;
        const { retryAfterMs } = error.data;
        await wait(typeof retryAfterMs === "number" ? retryAfterMs : 5_000);
      }
    }
  };
  const { lines } = await page("header", 0);
  const { length } = parseShape(auditExportHeaderSchema, JSON.parse(lines[0] ?? "null"));
  yield lines;
  for (const part of ["manifests", "checkpoints", "anchors", "entries"] as const) {
    for (let from: number | null = 0; from !== null; ) {
      const { lines: more, next }: { readonly lines: readonly string[]; readonly next: number | null } =
        await page(part, from, length);
      yield more;
      from = next;
    }
  }
}

/** Writes lines to a new file of mode 0600. @throws CairnError `file-exists`, `storage-full`, `storage-failed` */
export async function writeLines(path: string, pages: AsyncIterable<readonly string[]>): Promise<number> {
  let written = 0;
  try {
    const file = await open(path, "wx", 0o600);
    try {
      for await (const lines of pages) {
        if (lines.length > 0) await file.appendFile(`${lines.join("\n")}\n`);
        written += lines.length;
      }
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw fileFailure(cause, path);
  }
  return written;
}
