import { checkSupportedChange, type ErrorCode, isCairnError, type SignedChangeProposal } from "@cairn/core";
import type { ManifestBook } from "./manifest-book.ts";

/** Why this version of the software cannot carry a change out, or null where it can. */
export function unsupportedChange(
  { body }: SignedChangeProposal,
  book: Pick<ManifestBook, "under">,
): ErrorCode | null {
  try {
    checkSupportedChange(body.change, book.under(body.manifestHash));
    return null;
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return error.code;
  }
}
