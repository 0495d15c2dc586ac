import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import {
  type AuditFinding,
  type AuditReport,
  AuditVerifier,
  type KnownHeads,
  type ManifestHash,
} from "@cairn/core";
import { fileFailure } from "./file-failure.ts";

export interface VerifiedExport {
  readonly file: string;
  readonly finding: AuditFinding | null;
  readonly report: AuditReport | null;
}

/**
 * Verifies exports one after another, each also against what the checkpoints in all of them name, and against those of the same node
 * before it. Nothing but the files and the trusted hash is used.
 * @throws CairnError `file-missing`, `storage-failed`
 */
export async function verifyAuditExports(
  files: readonly string[],
  trusted: ManifestHash,
): Promise<readonly VerifiedExport[]> {
  const heads: KnownHeads = new Map();
  if (files.length > 1) {
    for (const file of files) await run(file, new AuditVerifier({ trusted, heads }), true);
  }
  const verified: VerifiedExport[] = [];
  for (const file of files) {
    const verifier = new AuditVerifier({ trusted, heads });
    await run(file, verifier, false);
    const { finding, report } = verifier.finish();
    verified.push({ file, finding, report });
  }
  return verified;
}

/** @param headsOnly ends where the entries begin */
async function run(file: string, verifier: AuditVerifier, headsOnly: boolean): Promise<void> {
  const input = createReadStream(file);
  try {
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      if (verifier.line(line) && headsOnly) break;
    }
  } catch (cause) {
    throw fileFailure(cause, file);
  } finally {
    input.destroy();
  }
}
