import {
  CairnError,
  type Ed25519PublicKey,
  ed25519PublicKeySchema,
  type NodeIndex,
  nodeIndexSchema,
} from "@cairn/core";
import { z } from "zod";

/** What a node notes of a spend beside what is signed: for people and figures. */
export const spendMetadataSchema = z.strictObject({
  /** The node that took the request. */
  receiver: nodeIndexSchema,
  /** Whose partial signatures made it, ascending; empty until it is signed. */
  signers: z.array(nodeIndexSchema),
  /** The chain source showed the signed transaction without signatures that verify: nobody is told of those. */
  unproven: z.boolean().default(false),
  /** The people whose approvals opened voting here; empty where policy asks for none. */
  approvers: z.array(ed25519PublicKeySchema).default([]),
  /** Milliseconds from the intent's creation to each stage, by this node's clock. */
  timings: z.record(z.string(), z.number()),
});
export interface SpendMetadata {
  readonly receiver: NodeIndex;
  readonly signers: readonly NodeIndex[];
  readonly unproven: boolean;
  readonly approvers: readonly Ed25519PublicKey[];
  readonly timings: Readonly<Record<string, number>>;
}

/** Text for a transaction row's `metadata`. */
export function writeMetadata(metadata: SpendMetadata): string {
  return JSON.stringify(metadata);
}

/** @throws CairnError `storage-corrupt` */
export function readMetadata(text: string): SpendMetadata {
  try {
    return spendMetadataSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new CairnError(
      "storage-corrupt",
      "a transaction's metadata is damaged; restore the database from a peer",
      {},
      { cause },
    );
  }
}
