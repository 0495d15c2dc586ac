import { z } from "zod";
import { domainHash } from "./canonical.ts";
import type { DomainTag } from "./domain.ts";
import { CairnError } from "./error.ts";
import { verifySignature } from "./identity.ts";
import {
  type ClusterId,
  clusterIdSchema,
  type Ed25519PublicKey,
  ed25519PublicKeySchema,
  hashHexSchema,
  type ManifestHash,
  manifestHashSchema,
  type NodeIndex,
  nodeIndexSchema,
  nonceSchema,
  signatureHexSchema,
  unixMsSchema,
  x25519PublicKeySchema,
} from "./ids.ts";
import { networkSchema } from "./network.ts";

/** A node and the person who answers for it. */
export const memberSchema = z.strictObject({
  index: nodeIndexSchema,
  name: z.string().min(1).max(64),
  /** The node's one identity: TLS certificate, envelopes, votes. */
  identity: ed25519PublicKeySchema,
  /** Receives sealed envelopes (HPKE, X25519). */
  sealing: x25519PublicKeySchema,
  /** The operator's offline key, for administrative proposals. */
  operator: ed25519PublicKeySchema,
  /** Where peers reach it, `tcp://host:port`, in order of preference. */
  addresses: z.array(z.string().min(1).max(256)).max(8),
  /** Base URL of its REST API, for clients, or null. */
  api: z.string().max(256).nullable(),
});
export type Member = z.output<typeof memberSchema>;

/** How many nodes must agree. A spend never needs fewer than max(mode, t, ⌊(n + f)/2⌋ + 1). */
export const consensusModeSchema = z.enum(["unanimous", "majority", "bft"]);
export type ConsensusMode = z.output<typeof consensusModeSchema>;

export const authorisationSchema = z.enum(["quorum", "policy-engine", "hybrid"]);
export type Authorisation = z.output<typeof authorisationSchema>;

const publicKeys = z.array(ed25519PublicKeySchema).max(64);

/**
 * The cluster's constitution. The first is signed by all n operators under `cairn/manifest/v1`, each successor by a quorum of its
 * predecessor's. Every node pins its hash.
 */
export const manifestSchema = z
  .strictObject({
    version: z.literal(1),
    /** Hash, under `cairn/cluster/v1`, of the genesis manifest with this field empty; the same for all successors. */
    cluster: clusterIdSchema,
    /** Random, so that two clusters of the same people differ. */
    nonce: nonceSchema,
    /** 0 for the genesis manifest. */
    sequence: z.number().int().min(0),
    /** Hash of the manifest before this one, null for the genesis. */
    previous: manifestHashSchema.nullable(),
    network: networkSchema,
    threshold: z.number().int().min(2).max(255),
    /** Ascending by index, indices 1..n. */
    members: z.array(memberSchema).min(2).max(255),
    /** Keys that may ask for a spend. */
    requesters: publicKeys,
    /** Keys that policies may ask for approvals of. */
    approvers: publicKeys,
    coordinators: publicKeys,
    policyEngines: publicKeys,
    transactionServices: publicKeys,
    authorisation: authorisationSchema,
    modes: z.strictObject({
      spend: consensusModeSchema,
      keygen: consensusModeSchema,
      refresh: consensusModeSchema,
      manifest: consensusModeSchema,
      policy: consensusModeSchema,
    }),
    /** Hash of the policy document, under which nodes vote. */
    policy: hashHexSchema,
    policyVersion: z.number().int().min(1),
    /** Time that each grant waits between intent and first signature, in milliseconds. */
    policyDelayMs: z.number().int().min(0),
    /** Time that whatever loosens waits between its proposal and its effect, in milliseconds. */
    changeDelayMs: z
      .number()
      .int()
      .min(0)
      .max(30 * 24 * 60 * 60 * 1000),
    /** SHA-256 of the cluster CA's certificate in DER. */
    caFingerprint: hashHexSchema,
    /** Accept the bare `{recipient, amount_sats}`; regtest only. */
    unsignedRequests: z.boolean(),
    /** Spends may carry the anchor of a co-signed checkpoint of the audit logs in an output of their own. */
    checkpointAnchors: z.boolean(),
    /** Versions of the peer protocol that members may speak, ascending. */
    protocolVersions: z.array(z.number().int().min(1)).min(1).max(16),
    createdAt: unixMsSchema,
    /** When it comes into force: its creation for the genesis; for a successor that loosens, its predecessor's `changeDelayMs` later. */
    effectiveAt: unixMsSchema,
  })
  .superRefine((manifest, context) => {
    const refuse = (message: string) => context.addIssue({ code: "custom", message });
    if (manifest.members.some((member, position) => member.index !== position + 1)) {
      refuse("members must stand in ascending order with indices 1..n");
    }
    for (const field of ["identity", "sealing", "operator"] as const) {
      if (new Set(manifest.members.map((member) => member[field])).size !== manifest.members.length) {
        refuse(`two members share one ${field} key`);
      }
    }
    if (manifest.threshold > manifest.members.length)
      refuse("threshold is larger than the number of members");
    if (manifest.unsignedRequests && manifest.network !== "regtest") {
      refuse("unsigned requests are possible on regtest only");
    }
    if ((manifest.sequence === 0) !== (manifest.previous === null)) {
      refuse("only the genesis manifest (sequence 0) has no predecessor");
    }
    if (manifest.effectiveAt < manifest.createdAt) refuse("a manifest comes into force after its creation");
  });
export type Manifest = z.output<typeof manifestSchema>;

/** A manifest and the hash that names it. */
export interface ManifestInForce {
  readonly manifest: Manifest;
  readonly manifestHash: ManifestHash;
}

/** A manifest with operators' signatures. */
export const signedManifestSchema = z.strictObject({
  manifest: manifestSchema,
  signatures: z
    .array(z.strictObject({ operator: ed25519PublicKeySchema, signature: signatureHexSchema }))
    .max(255),
});
export type SignedManifest = z.output<typeof signedManifestSchema>;

export function manifestHash(manifest: Manifest): ManifestHash {
  return domainHash("cairn/manifest/v1", manifest) as ManifestHash;
}

/** The cluster id that belongs to a genesis manifest. */
export function clusterIdOf(genesis: Omit<Manifest, "cluster">): ClusterId {
  return domainHash("cairn/cluster/v1", { ...genesis, cluster: "" }) as ClusterId;
}

/** Text that operators compare by voice: the manifest's hash in groups of eight hexadecimal digits. */
export function manifestFingerprint(hash: ManifestHash): string {
  return hash.match(/.{8}/g)?.join(" ") ?? hash;
}

/** The member with `index`. @throws CairnError `not-member` */
export function memberOf(manifest: Manifest, index: NodeIndex): Member {
  const member = manifest.members[index - 1];
  if (member === undefined) {
    throw new CairnError("not-member", `the manifest has no node ${index}`, { node: index });
  }
  return member;
}

/** Faults that n nodes stand while any two quorums share an honest node: f = ⌊(n − 1)/3⌋. */
export function faultsTolerated(total: number): number {
  return Math.floor((total - 1) / 3);
}

/** Nodes that must agree on an operation in `mode`. */
export function modeQuorum(mode: ConsensusMode, total: number): number {
  switch (mode) {
    case "unanimous":
      return total;
    case "majority":
      return Math.floor(total / 2) + 1;
    case "bft":
      return Math.floor((2 * total) / 3) + 1;
  }
}

/** Smallest quorum of which any two share an honest node: ⌊(n + f)/2⌋ + 1. */
export function overlapQuorum(total: number): number {
  return Math.floor((total + faultsTolerated(total)) / 2) + 1;
}

/** Operators or nodes that must agree on a change of the cluster itself, in `mode`. */
export function administrativeQuorum(mode: ConsensusMode, total: number): number {
  return Math.max(modeQuorum(mode, total), overlapQuorum(total));
}

/** Approvals that a spend needs: max(mode, t, ⌊(n + f)/2⌋ + 1), so that two quorums always share an honest node. */
export function spendQuorum(manifest: Manifest): number {
  const total = manifest.members.length;
  return Math.max(modeQuorum(manifest.modes.spend, total), manifest.threshold, overlapQuorum(total));
}

/** Nodes whose `Void` proves an intent dead: n − t + f + 1, since then fewer than t honest partials can ever exist. */
export function voidQuorum(manifest: Manifest): number {
  const total = manifest.members.length;
  return total - manifest.threshold + faultsTolerated(total) + 1;
}

/**
 * Checks a genesis manifest: its own id and the signatures of all n operators.
 * @throws CairnError `wrong-cluster`, `wrong-state`, `signature-invalid`
 */
export function verifyGenesis(signed: SignedManifest): void {
  const { manifest } = signed;
  if (manifest.sequence !== 0) {
    throw new CairnError("wrong-state", "this is not a genesis manifest: its sequence is not 0", {
      sequence: manifest.sequence,
    });
  }
  if (manifest.cluster !== clusterIdOf(manifest)) {
    throw new CairnError("wrong-cluster", "the manifest's cluster id does not follow from its content", {});
  }
  const missing = operatorsOf(manifest).filter(
    (operator) => !hasSigned(operator, "cairn/manifest/v1", manifest, signed.signatures),
  );
  if (missing.length > 0) {
    throw new CairnError(
      "signature-invalid",
      `the genesis manifest lacks valid signatures of ${missing.length} of its operators; each operator signs it once`,
      { missing },
    );
  }
}

/**
 * Checks that enough of `manifest`'s operators signed `body` under `tag`.
 * @throws CairnError `operator-signature-missing`
 */
export function requireOperators(
  manifest: Manifest,
  mode: ConsensusMode,
  tag: DomainTag,
  body: unknown,
  signatures: SignedManifest["signatures"],
): void {
  const needed = administrativeQuorum(mode, manifest.members.length);
  const signed = operatorsOf(manifest).filter((operator) =>
    hasSigned(operator, tag, body, signatures),
  ).length;
  if (signed < needed) {
    throw new CairnError(
      "operator-signature-missing",
      `${signed} operators signed this; it needs the signatures of ${needed}`,
      { signed, needed },
    );
  }
}

function operatorsOf(manifest: Manifest): Ed25519PublicKey[] {
  return manifest.members.map((member) => member.operator);
}

function hasSigned(
  operator: Ed25519PublicKey,
  tag: DomainTag,
  body: unknown,
  signatures: SignedManifest["signatures"],
): boolean {
  return signatures.some(
    (entry) => entry.operator === operator && verifySignature(tag, body, operator, entry.signature),
  );
}
