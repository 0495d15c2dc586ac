import {
  clusterIdOf,
  type Ed25519PublicKey,
  type HashHex,
  type Manifest,
  type Member,
  manifestSchema,
  modeQuorum,
  type Network,
  type Nonce,
  type Policy,
  parseShape,
  policyHash,
  type SignedManifest,
  type Signer,
  type UnixMs,
} from "@cairn/core";

/** Time in which people can notice and stop a change that loosens; on regtest there is nothing to lose. */
const CHANGE_DELAY_MS = 24 * 60 * 60 * 1000;

export interface GenesisFacts {
  readonly network: Network;
  /** Defaults to ⌊2n/3⌋ + 1. */
  readonly threshold?: number | undefined;
  /** Ascending by index, from 1. */
  readonly members: readonly Member[];
  readonly requesters: readonly Ed25519PublicKey[];
  readonly policy: Policy;
  readonly caFingerprint: HashHex;
  /** Defaults: `unanimous` for keygen and refresh, which need all nodes anyway; `bft` for the others. */
  readonly modes?: Partial<Manifest["modes"]> | undefined;
  /** Regtest only; defaults to false. */
  readonly unsignedRequests?: boolean | undefined;
  /** Let spends anchor checkpoints of the audit logs on the chain; defaults to false. */
  readonly checkpointAnchors?: boolean | undefined;
  readonly nonce: Nonce;
  readonly createdAt: UnixMs;
}

/**
 * The genesis manifest of a cluster, for its operators to sign.
 * @throws CairnError `malformed` when the facts make no manifest: a threshold out of range, two members with one key, …
 */
export function genesisManifest(facts: GenesisFacts): Manifest {
  const total = facts.members.length;
  const body = {
    version: 1 as const,
    nonce: facts.nonce,
    sequence: 0,
    previous: null,
    network: facts.network,
    threshold: facts.threshold ?? modeQuorum("bft", total),
    members: [...facts.members],
    requesters: [...facts.requesters],
    approvers: facts.policy.approvals?.keys ?? [],
    coordinators: [],
    policyEngines: [],
    transactionServices: [],
    authorisation: "quorum" as const,
    modes: {
      spend: "bft" as const,
      keygen: "unanimous" as const,
      refresh: "unanimous" as const,
      manifest: "bft" as const,
      policy: "bft" as const,
      ...facts.modes,
    },
    policy: policyHash(facts.policy),
    policyVersion: facts.policy.policyVersion,
    policyDelayMs: facts.policy.delayMs,
    changeDelayMs: facts.network === "regtest" ? 0 : CHANGE_DELAY_MS,
    caFingerprint: facts.caFingerprint,
    unsignedRequests: facts.unsignedRequests ?? false,
    checkpointAnchors: facts.checkpointAnchors ?? false,
    protocolVersions: [1],
    createdAt: facts.createdAt,
    effectiveAt: facts.createdAt,
  };
  return parseShape(manifestSchema, { ...body, cluster: clusterIdOf(body) });
}

/** An operator's entry among a manifest's signatures. */
export function signManifest(manifest: Manifest, operator: Signer): SignedManifest["signatures"][number] {
  return { operator: operator.publicKey, signature: operator.sign("cairn/manifest/v1", manifest) };
}
