import { signaturesOf } from "@cairn/bitcoin";
import { fromHex, type TransactionRow } from "@cairn/core";
import { readMetadata } from "./spend-metadata.ts";
import type { FinalMessage } from "./spend-signatures.ts";

/** The signatures of a spend, as this node tells others of them; null where it has none that verify. */
export function finalOf({ intent, signedTx, metadata }: TransactionRow): FinalMessage | null {
  const { signers, unproven } = readMetadata(metadata);
  if (signedTx === null || unproven) return null;
  const signatures = signaturesOf(fromHex(signedTx)).map((signature) => new Uint8Array(signature));
  return { version: 1, intentHash: intent, signers: [...signers], signatures };
}
