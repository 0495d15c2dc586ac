import { CairnError, type UnixMs, unixMsSchema } from "@cairn/core";
import { z } from "zod";

/** Where a page of a list that is ordered by time and id ended, as opaque text. */
export function writeCursor(at: UnixMs, id: string): string {
  return Buffer.from(JSON.stringify([at, id]), "utf8").toString("base64url");
}

/** @throws CairnError `malformed` for what {@link writeCursor} did not write about ids of this shape */
export function readCursor<Id extends z.ZodType>(
  text: string,
  id: Id,
): { readonly at: UnixMs; readonly id: z.output<Id> } {
  try {
    const [at, name] = z
      .tuple([unixMsSchema, id])
      .parse(JSON.parse(Buffer.from(text, "base64url").toString("utf8")));
    return { at: at as UnixMs, id: name as z.output<Id> };
  } catch (cause) {
    throw new CairnError(
      "malformed",
      "the cursor is not one that this list answered as `next`; begin without one",
      { path: "cursor" },
      { cause },
    );
  }
}
