import {
  type ClusterId,
  concatBytes,
  domainBytes,
  type HashHex,
  type KeyId,
  type KeyPath,
  type NodeIndex,
  type Protocol,
} from "@cairn/core";
import type { SigningItem } from "./engine.ts";

/** The last change address that exists: no wallet ever pays to it, so a test signature can never move a coin. */
export const TEST_SIGNATURE_PATH: KeyPath = [1, 0x7fffffff];

/**
 * Signer sets whose signatures together use every share: windows over the ascending members, ⌈n / t⌉ of them. Part k of the stage `test` is
 * the k-th.
 */
export function testSubsets(
  members: readonly NodeIndex[],
  threshold: number,
): readonly (readonly NodeIndex[])[] {
  const sorted = [...members].sort((a, b) => a - b);
  const count = Math.ceil(sorted.length / threshold);
  return Array.from({ length: count }, (_, part) => {
    const start = Math.min(part * threshold, sorted.length - threshold);
    return sorted.slice(start, start + threshold);
  });
}

/**
 * What one test signature signs. The bytes are no transaction's: read as BIP-143 their hashes would have to be this text, and after the
 * leading zero of BIP-341 comes no hash type that exists.
 */
export function testSigningItem(input: {
  readonly cluster: ClusterId;
  readonly keyId: KeyId;
  readonly protocol: Protocol;
  readonly publicPackage: HashHex;
  readonly subset: readonly NodeIndex[];
}): SigningItem {
  const { cluster, keyId, protocol, publicPackage, subset } = input;
  const text = domainBytes("cairn/keygen-test/v1", { cluster, keyId, publicPackage, subset });
  return {
    path: TEST_SIGNATURE_PATH,
    preimage: protocol === "frost" ? concatBytes(Uint8Array.of(0), text) : text,
  };
}
