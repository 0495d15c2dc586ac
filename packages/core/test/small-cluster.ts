import { createHash } from "node:crypto";
import {
  type Ed25519Signer,
  type Manifest,
  manifestHash,
  type NodeIndex,
  type UnixMs,
} from "../src/index.ts";
import { namedSigner, testManifest } from "../test-support/index.ts";

export const NOW = 1_800_000_000_000 as UnixMs;
export const HOUR = 3_600_000;
export const hash = (name: string) => createHash("sha256").update(name).digest("hex") as never;
export const node = (index: number) => index as NodeIndex;
export const nodeKey = (index: number): Ed25519Signer => namedSigner(`node ${index}`);
export const operatorKey = (index: number): Ed25519Signer => namedSigner(`operator ${index}`);

/** A manifest of five members and its hash. */
export function inForceOf(change: { readonly [Field in keyof Manifest]?: unknown } = {}) {
  const manifest = testManifest(
    [1, 2, 3, 4, 5].map((index) => ({ identity: nodeKey(index).publicKey })),
    { createdAt: NOW - HOUR, ...change },
  );
  return { manifest, manifestHash: manifestHash(manifest) };
}
