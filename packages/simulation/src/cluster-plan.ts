import type { Ed25519Signer, Manifest, NodeIndex, SealingKey } from "@cairn/core";
import { openPolicy, testManifest } from "@cairn/core/test-support";
import { type Policy, policyHash } from "@cairn/policy";
import { seededSealingKey, seededSigner } from "./seeded-keys.ts";
import { SeededRandom } from "./seeded-random.ts";

/** Limits that a simulated cluster lives under; null switches one off. */
export type Limits = Pick<
  Policy,
  "rolling24hMaxSats" | "perDestination24hMaxSats" | "rateLimit" | "perTransactionMaxSats" | "approvals"
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
  approvals: null,
};

/** The people who approve payments where limits ask for it. */
export const approvers: readonly Ed25519Signer[] = ["ann", "bob", "cem"].map((name) =>
  seededSigner(`approver/${name}`),
);

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
  const policy = openPolicy(limits);
  const manifest = testManifest(
    [...identities].map(([index, signer]) => ({
      identity: signer.publicKey,
      sealing: sealings.get(index)?.publicKey,
      operator: operators.get(index)?.publicKey,
    })),
    {
      nonce: new SeededRandom("manifest").hex(32),
      requesters: [requester.publicKey],
      approvers: approvers.map(({ publicKey }) => publicKey),
      policy: policyHash(policy),
      caFingerprint: "0".repeat(64),
      createdAt: 0,
    },
  );
  return { manifest, policy, members, identities, sealings, operator, requester };
}
