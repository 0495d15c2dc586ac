import assert from "node:assert/strict";
import { Ed25519Signer, isCairnError, type Manifest, type NodeIndex, systemRandom } from "@cairn/core";
import { testManifest } from "@cairn/core/test-support";
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
  const manifest = testManifest(
    signers.map((signer) => ({ identity: signer.publicKey })),
    { threshold: 2, caFingerprint: authority.fingerprint },
  );
  return { authority, signers, manifest };
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
