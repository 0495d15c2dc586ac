import {
  clusterIdOf,
  type Ed25519Signer,
  type Manifest,
  manifestSchema,
  type NodeIndex,
  type SealingKey,
} from "@cairn/core";
import { type Policy, policyHash, policySchema } from "@cairn/policy";
import { seededSealingKey, seededSigner } from "./seeded-keys.ts";
import { SeededRandom } from "./seeded-random.ts";

/** Limits that a simulated cluster lives under; null switches one off. */
export type Limits = Pick<
  Policy,
  "rolling24hMaxSats" | "perDestination24hMaxSats" | "rateLimit" | "perTransactionMaxSats"
>;

/** Everything that is agreed before a cluster's nodes start: the same for the same limits, in every run. */
export interface ClusterPlan {
  readonly manifest: Manifest;
  readonly policy: Policy;
  readonly members: readonly NodeIndex[];
  readonly identities: ReadonlyMap<NodeIndex, Ed25519Signer>;
  readonly sealings: ReadonlyMap<NodeIndex, SealingKey>;
  readonly operator: Ed25519Signer;
  readonly requester: Ed25519Signer;
}

export const noLimits: Limits = {
  rolling24hMaxSats: null,
  perDestination24hMaxSats: null,
  rateLimit: null,
  perTransactionMaxSats: null,
};

/** Five nodes of which four sign, on regtest. */
export function planCluster(limits: Limits): ClusterPlan {
  const members = [1, 2, 3, 4, 5].map((index) => index as NodeIndex);
  const keyed = <T>(make: (name: string) => T, kind: string) =>
    new Map(members.map((index) => [index, make(`${kind}/${index}`)] as const));
  const identities = keyed(seededSigner, "identity");
  const sealings = keyed(seededSealingKey, "sealing");
  const operators = keyed(seededSigner, "operator");
  const requester = seededSigner("requester");
  const operator = operators.get(1 as NodeIndex);
  if (operator === undefined) throw new RangeError("no operator");
  const policy = policySchema.parse({
    version: 1,
    policyVersion: 1,
    whitelist: null,
    feeCeilingSats: null,
    feeRateCeilingSatsPerKvb: null,
    delayMs: 0,
    approvals: null,
    ...limits,
  });
  const draft = manifestSchema.parse({
    version: 1,
    cluster: "0".repeat(64),
    nonce: new SeededRandom("manifest").hex(32),
    sequence: 0,
    previous: null,
    network: "regtest",
    threshold: 4,
    members: members.map((index) => ({
      index,
      name: `node ${index}`,
      identity: identities.get(index)?.publicKey,
      sealing: sealings.get(index)?.publicKey,
      operator: operators.get(index)?.publicKey,
      addresses: [],
      api: null,
    })),
    requesters: [requester.publicKey],
    approvers: [],
    coordinators: [],
    policyEngines: [],
    transactionServices: [],
    authorisation: "quorum",
    modes: { spend: "bft", keygen: "unanimous", refresh: "unanimous", manifest: "bft", policy: "bft" },
    policy: policyHash(policy),
    policyVersion: 1,
    policyDelayMs: 0,
    caFingerprint: "0".repeat(64),
    unsignedRequests: false,
    protocolVersions: [1],
    createdAt: 0,
    effectiveAt: 0,
    changeDelayMs: 0,
  });
  const manifest = { ...draft, cluster: clusterIdOf(draft) };
  return { manifest, policy, members, identities, sealings, operator, requester };
}
