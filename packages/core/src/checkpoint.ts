import { z } from "zod";
import { AUDIT_ROOT } from "./audit.ts";
import { CairnError } from "./error.ts";
import { type Signer, verifySignature } from "./identity.ts";
import {
  clusterIdSchema,
  type HashHex,
  hashHexSchema,
  manifestHashSchema,
  type NodeIndex,
  nodeIndexSchema,
  type SignatureHex,
  signatureHexSchema,
  unixMsSchema,
} from "./ids.ts";
import { type Manifest, type ManifestInForce, memberOf, overlapQuorum } from "./manifest.ts";
import { bodyHash } from "./signed.ts";

/** Where one node's audit log stands. */
export const auditHeadSchema = z
  .strictObject({
    node: nodeIndexSchema,
    /** The node's epoch, which a restore raises: only then may its log have lost entries. */
    epoch: z.number().int().min(0),
    /** Entries; the newest has `seq` length − 1. */
    length: z.number().int().min(0),
    /** Hash of the newest entry; {@link AUDIT_ROOT} for none. */
    hash: hashHexSchema,
  })
  .refine((head) => (head.length === 0) === (head.hash === AUDIT_ROOT), "64 zeros stand for an empty log");
export type AuditHead = z.output<typeof auditHeadSchema>;

/**
 * The heads of all members' audit logs at one time. Nodes co-sign it under `cairn/checkpoint/v1`, each after it has seen that its own
 * head is there and that no other went back; from then on nobody can shorten or rewrite his log unnoticed.
 */
export const checkpointSchema = z
  .strictObject({
    version: z.literal(1),
    cluster: clusterIdSchema,
    manifestHash: manifestHashSchema,
    /** 0 for the first, then one more each. */
    sequence: z.number().int().min(0),
    /** Hash of the checkpoint before; null for the first. */
    previous: hashHexSchema.nullable(),
    /** One a member, ascending; of a member that is away, the last one known. */
    heads: z.array(auditHeadSchema).min(2).max(255),
    createdAt: unixMsSchema,
  })
  .superRefine((checkpoint, context) => {
    const refuse = (message: string) => context.addIssue({ code: "custom", message });
    if (checkpoint.heads.some((head, at) => head.node !== at + 1))
      refuse("heads must stand in ascending order with nodes 1..n");
    if ((checkpoint.sequence === 0) !== (checkpoint.previous === null))
      refuse("only the first checkpoint (sequence 0) has no predecessor");
  });
export type Checkpoint = z.output<typeof checkpointSchema>;

/** A checkpoint with its nodes' signatures, ascending by node. */
export const signedCheckpointSchema = z.strictObject({
  checkpoint: checkpointSchema,
  signatures: z
    .array(z.strictObject({ node: nodeIndexSchema, signature: signatureHexSchema }))
    .min(1)
    .max(255),
});
export type SignedCheckpoint = z.output<typeof signedCheckpointSchema>;

/** Names a checkpoint: what its successor and an anchor on the chain commit to. */
export function checkpointHash(checkpoint: Checkpoint): HashHex {
  return bodyHash<HashHex>("cairn/checkpoint/v1", checkpoint);
}

/** A node's entry among a checkpoint's signatures. */
export function signCheckpoint(
  checkpoint: Checkpoint,
  node: NodeIndex,
  signer: Signer,
): { readonly node: NodeIndex; readonly signature: SignatureHex } {
  return { node, signature: signer.sign("cairn/checkpoint/v1", checkpoint) };
}

/**
 * Checks a checkpoint under its manifest: it is about exactly its members, every signature is a member's, and so many nodes signed
 * that two checkpoints always share an honest one.
 * @throws CairnError `wrong-cluster`, `wrong-manifest`, `malformed`, `not-member`, `signature-invalid`, `quorum-missing`
 */
export function verifyCheckpoint(
  signed: SignedCheckpoint,
  { manifest, manifestHash }: ManifestInForce,
): void {
  const { checkpoint, signatures } = signed;
  if (checkpoint.cluster !== manifest.cluster)
    throw new CairnError("wrong-cluster", "the checkpoint is of another cluster");
  if (checkpoint.manifestHash !== manifestHash)
    throw new CairnError("wrong-manifest", "the checkpoint was made under another manifest");
  if (checkpoint.heads.length !== manifest.members.length)
    throw new CairnError("malformed", "the checkpoint does not name one head for every member");
  if (signatures.some(({ node }, at) => node <= (signatures[at - 1]?.node ?? 0)))
    throw new CairnError("malformed", "signatures must stand in ascending order, one a node");
  for (const { node, signature } of signatures) {
    if (!verifySignature("cairn/checkpoint/v1", checkpoint, memberOf(manifest, node).identity, signature)) {
      throw new CairnError("signature-invalid", "a signature on the checkpoint is not its node's", { node });
    }
  }
  const needed = overlapQuorum(manifest.members.length);
  if (signatures.length < needed) {
    throw new CairnError(
      "quorum-missing",
      `${signatures.length} nodes signed the checkpoint; it needs ${needed}`,
      { signed: signatures.length, needed },
    );
  }
}

/** A checkpoint and the manifest under which it was made. */
export interface PlacedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly manifest: Manifest;
}

/** What a head must be to follow another of the same node: no restore undone, and in one epoch neither shorter nor rewritten. */
export function headFollows(after: AuditHead, before: AuditHead): boolean {
  if (after.epoch !== before.epoch) return after.epoch > before.epoch;
  if (after.length !== before.length) return after.length > before.length;
  return after.hash === before.hash;
}

/**
 * Checks that no member's log went back between two checkpoints, however many lie between them. The log of a member whose identity
 * is new begins anew.
 * @throws CairnError `audit-broken` that names the node whose log went back
 */
export function verifyHeadsFollow(previous: PlacedCheckpoint, next: PlacedCheckpoint): void {
  for (const head of previous.checkpoint.heads) {
    const member = previous.manifest.members[head.node - 1];
    if (next.manifest.members[head.node - 1]?.identity !== member?.identity) continue;
    const now = next.checkpoint.heads[head.node - 1];
    if (now === undefined || !headFollows(now, head)) {
      throw new CairnError("audit-broken", `the audit log of node ${head.node} went back or was rewritten`, {
        node: head.node,
        length: now?.length ?? null,
        before: head.length,
      });
    }
  }
}

/**
 * {@link verifyHeadsFollow} for a checkpoint and its direct successor, which names its hash.
 * @throws CairnError `audit-broken` that names the node whose log went back, or none where the chain of checkpoints itself is broken
 */
export function verifyCheckpointChain(previous: PlacedCheckpoint, next: PlacedCheckpoint): void {
  const [before, after] = [previous.checkpoint, next.checkpoint];
  if (
    after.cluster !== before.cluster ||
    after.sequence !== before.sequence + 1 ||
    after.previous !== checkpointHash(before)
  ) {
    throw new CairnError("audit-broken", "the checkpoint does not follow the one before it", {
      sequence: after.sequence,
      expected: before.sequence + 1,
    });
  }
  verifyHeadsFollow(previous, next);
}
