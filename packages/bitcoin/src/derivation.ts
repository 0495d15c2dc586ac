import { normalizeZ } from "@noble/curves/abstract/curve.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { concatBytes } from "@noble/hashes/utils.js";
import { bitcoinError } from "./bitcoin-error.ts";

const { Point } = secp256k1;
const order = Point.Fn.ORDER;

/** A public node of a BIP-32 tree, with how far its key was shifted from the node it came from. */
export interface PublicNode {
  /** Compressed public key, 33 bytes. */
  readonly publicKey: Uint8Array;
  /** Chain code, 32 bytes. */
  readonly chainCode: Uint8Array;
  /** δ with key = root + δ·G, 0 ≤ δ < n. */
  readonly shift: bigint;
}

/** Points of nodes that are derived from again and again: reading one back from its bytes takes a square root. */
const points = new WeakMap<PublicNode, InstanceType<typeof Point>>();

function pointOf(node: PublicNode): InstanceType<typeof Point> {
  const known = points.get(node) ?? Point.fromBytes(node.publicKey);
  points.set(node, known);
  return known;
}

/**
 * One unhardened BIP-32 step (CKDpub): I = HMAC-SHA512(chain code, key ‖ index), child = key + I_L·G, δ grows by I_L.
 *
 * @throws CairnError `path-out-of-range` for an index of 2³¹ or more (hardened steps need the private key, which
 * exists nowhere), and in the one case of 2¹²⁷ in which BIP-32 declares an index unusable.
 */
export function deriveChild(parent: PublicNode, index: number): PublicNode {
  const [child] = deriveChildren(parent, [index]);
  if (child === undefined) throw new RangeError("one index gives one child");
  return child;
}

/**
 * {@link deriveChild} for each of `indexes`. Many at once cost less: they share the one slow division.
 *
 * @throws CairnError `path-out-of-range`
 */
export function deriveChildren(parent: PublicNode, indexes: readonly number[]): PublicNode[] {
  const from = pointOf(parent);
  const steps = indexes.map((index) => stepTo(parent, index));
  const children = steps.map(({ left, index }) => {
    // Nothing here is secret: the key, the chain code and what follows from them are in the descriptor.
    const child = from.add(Point.BASE.multiplyUnsafe(left));
    if (child.is0()) throw unusable(index);
    return child;
  });
  return normalizeZ(Point, children).flatMap((child, i) => {
    const step = steps[i];
    if (step === undefined) return [];
    const { chainCode, left } = step;
    return [{ publicKey: child.toBytes(true), chainCode, shift: (parent.shift + left) % order }];
  });
}

function stepTo(parent: PublicNode, index: number) {
  if (!Number.isInteger(index) || index < 0 || index > 0x7fffffff) {
    throw bitcoinError("path-out-of-range", "An unhardened index lies between 0 and 2147483647.", { index });
  }
  const indexBytes = new Uint8Array(4);
  new DataView(indexBytes.buffer).setUint32(0, index, false);
  const digest = hmac(sha512, parent.chainCode, concatBytes(parent.publicKey, indexBytes));
  const left = BigInt(`0x${Buffer.from(digest.subarray(0, 32)).toString("hex")}`);
  if (left === 0n || left >= order) throw unusable(index);
  return { index, left, chainCode: digest.slice(32) };
}

function unusable(index: number): Error {
  return bitcoinError("path-out-of-range", "BIP-32 defines no key at this index; use the next one.", {
    index,
  });
}
