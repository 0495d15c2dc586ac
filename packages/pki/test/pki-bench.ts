import assert from "node:assert/strict";
import {
  clusterIdOf,
  Ed25519Signer,
  isCairnError,
  type Manifest,
  manifestSchema,
  type NodeIndex,
  SealingKey,
  systemRandom,
} from "@cairn/core";
import { type Authority, type CertificateRefusal, createAuthority } from "../src/index.ts";

export const NOW = 1_700_000_000_000;
export const modules = { random: systemRandom };

export interface PkiBench {
  readonly authority: Authority;
  readonly signers: readonly Ed25519Signer[];
  readonly manifest: Manifest;
}

/** An authority and a manifest of three members that names it. */
export function pkiBench(): PkiBench {
  const authority = createAuthority({ now: NOW }, modules);
  const signers = [1, 2, 3].map(() => Ed25519Signer.generate());
  const draft = manifestSchema.parse({
    version: 1,
    cluster: "0".repeat(64),
    nonce: "ab".repeat(32),
    sequence: 0,
    previous: null,
    network: "regtest",
    threshold: 2,
    members: signers.map((signer, position) => ({
      index: position + 1,
      name: `node ${position + 1}`,
      identity: signer.publicKey,
      sealing: SealingKey.generate().publicKey,
      operator: Ed25519Signer.generate().publicKey,
      addresses: [],
      api: null,
    })),
    requesters: [],
    approvers: [],
    coordinators: [],
    policyEngines: [],
    transactionServices: [],
    authorisation: "quorum",
    modes: { spend: "bft", keygen: "unanimous", refresh: "unanimous", manifest: "bft", policy: "bft" },
    policy: "cd".repeat(32),
    policyVersion: 1,
    policyDelayMs: 0,
    caFingerprint: authority.fingerprint,
    unsignedRequests: false,
    protocolVersions: [1],
    createdAt: 1,
  });
  return { authority, signers, manifest: { ...draft, cluster: clusterIdOf(draft) } };
}

export function identityOf(bench: PkiBench, index: number) {
  const member = bench.manifest.members[index - 1];
  assert.ok(member);
  return { cluster: bench.manifest.cluster, index: index as NodeIndex, identity: member.identity };
}

/** Matches the error `certificate-refused` with this reason. */
export function refusedAs(reason: CertificateRefusal) {
  return (error: unknown): boolean => {
    assert.ok(isCairnError(error, "certificate-refused"), String(error));
    assert.equal(error.data.reason, reason);
    return true;
  };
}
