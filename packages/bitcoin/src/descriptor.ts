import { type KeyPath, type Network, type WalletId, walletIdOf } from "@cairn/core";
import { normalizeZ } from "@noble/curves/abstract/curve.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { bytesToHex, bytesToNumberBE, concatBytes, numberToBytesBE } from "@noble/curves/utils.js";
import { base58check } from "@scure/base";
import { encodeAddress } from "./address.ts";
import { bitcoinError } from "./bitcoin-error.ts";
import { deriveChild, deriveChildren, type PublicNode } from "./derivation.ts";
import { descriptorChecksum } from "./descriptor-checksum.ts";
import { hash } from "./hash.ts";
import { keyMemory } from "./key-memory.ts";
import { networkParams } from "./network-params.ts";
import { encodeOutputScript } from "./output-script.ts";

const { Point } = secp256k1;
const base58 = base58check(hash.sha256);

/** `wpkh`: P2WPKH over a threshold ECDSA key. `tr`: P2TR by key path over a FROST key. */
export type DescriptorKind = "wpkh" | "tr";

/** An extended public key (BIP-32) without its version bytes. */
export interface ExtendedKey {
  readonly depth: number;
  /** 4 bytes. */
  readonly parentFingerprint: Uint8Array;
  readonly childNumber: number;
  /** 32 bytes. */
  readonly chainCode: Uint8Array;
  /** Compressed, 33 bytes; its parity counts, for `tr` too. */
  readonly publicKey: Uint8Array;
}

/** Where the extended key stands in a larger tree. */
export interface KeyOrigin {
  /** Fingerprint of that tree's root, 4 bytes. */
  readonly fingerprint: Uint8Array;
  /** Steps from there to the extended key; 2³¹ and more are hardened. */
  readonly path: readonly number[];
}

/** A wallet: `wpkh(xpub/<0;1>/*)` or `tr(xpub/<0;1>/*)`. */
export interface Descriptor {
  readonly kind: DescriptorKind;
  readonly network: Network;
  readonly key: ExtendedKey;
  readonly origin: KeyOrigin | undefined;
  /** Canonical text with checksum. */
  readonly text: string;
  /** SHA-256 of the canonical text. */
  readonly wallet: WalletId;
  /** The nodes of receive (0) and change (1). */
  readonly branches: readonly [receive: PublicNode, change: PublicNode];
}

/** One key of a wallet and what pays to it. */
export interface DerivedKey {
  readonly path: KeyPath;
  /** Child public key before any taproot tweak, compressed, 33 bytes. */
  readonly publicKey: Uint8Array;
  /** δ: child = root + δ·G; sum of the two BIP-32 I_L mod n, 32 bytes big-endian. */
  readonly delta: Uint8Array;
  /** For `tr`: x-only child key (BIP-341 internal key), 32 bytes. For `wpkh`: x coordinate of the child. */
  readonly xOnlyKey: Uint8Array;
  /** What signatures verify under: 33-byte child key for `wpkh`, 32-byte x-only output key for `tr`. */
  readonly signingKey: Uint8Array;
  readonly script: Uint8Array;
  readonly address: string;
}

const pattern =
  /^(wpkh|tr)\((?:\[([0-9a-fA-F]{8})((?:\/[0-9]{1,10}[h']?)*)\])?([1-9A-HJ-NP-Za-km-z]+)\/<0;1>\/\*\)$/;
const hardened = 0x80000000;

/**
 * Reads a descriptor: BIP-380 text with its checksum, of the form `wpkh(xpub/<0;1>/*)#…` (BIP-382) or
 * `tr(xpub/<0;1>/*)#…` (BIP-386 without script tree), multipath as in BIP-389, key origin optional.
 *
 * @throws CairnError with reason `descriptor-checksum-missing`, `descriptor-bad-checksum`, `descriptor-malformed`,
 * `descriptor-unsupported`, `descriptor-bad-key`, `descriptor-private-key` or `descriptor-wrong-network`
 */
export function parseDescriptor(text: string, network: Network): Descriptor {
  if (text.length > 512) {
    throw bitcoinError("descriptor-malformed", "A wallet descriptor has at most 512 characters.", {
      length: text.length,
    });
  }
  const mark = text.indexOf("#");
  if (mark < 0) {
    throw bitcoinError(
      "descriptor-checksum-missing",
      "The descriptor ends without its checksum (# and eight characters). Export it again, whole.",
    );
  }
  const body = text.slice(0, mark);
  const expected = descriptorChecksum(body);
  if (expected === undefined) {
    throw bitcoinError(
      "descriptor-malformed",
      "The descriptor holds a character that BIP-380 does not know.",
    );
  }
  if (text.slice(mark + 1) !== expected) {
    throw bitcoinError(
      "descriptor-bad-checksum",
      "The checksum does not match the descriptor: a character was changed or lost. Export it again.",
    );
  }
  const match = pattern.exec(body);
  const [, kind, fingerprint, steps, encodedKey] = match ?? [];
  if ((kind !== "wpkh" && kind !== "tr") || encodedKey === undefined) {
    throw bitcoinError(
      "descriptor-unsupported",
      "Cairn's wallets are wpkh(xpub/<0;1>/*) and tr(xpub/<0;1>/*), with an optional key origin; this descriptor is another kind.",
    );
  }
  const key = decodeExtendedKey(encodedKey, network);
  const origin =
    fingerprint === undefined
      ? undefined
      : { fingerprint: Uint8Array.from(Buffer.from(fingerprint, "hex")), path: parseSteps(steps ?? "") };
  return makeDescriptor(kind, network, key, origin);
}

/**
 * The descriptor of a new wallet over a group key as its root (depth 0).
 *
 * For `tr`, `publicKey` is the key that FROST key generation returns, parity included: `frost-secp256k1-tr` has applied
 * its tweak to it already, and every child gets its own BIP-341 tweak.
 *
 * @param publicKey compressed, 33 bytes
 * @param chainCode 32 bytes
 * @throws CairnError `descriptor-bad-key` when the key is no point of the curve or a length is wrong
 */
export function createDescriptor(
  kind: DescriptorKind,
  network: Network,
  publicKey: Uint8Array,
  chainCode: Uint8Array,
): Descriptor {
  const key = { depth: 0, parentFingerprint: new Uint8Array(4), childNumber: 0, chainCode, publicKey };
  return makeDescriptor(kind, network, key, undefined);
}

function makeDescriptor(
  kind: DescriptorKind,
  network: Network,
  key: ExtendedKey,
  origin: KeyOrigin | undefined,
): Descriptor {
  assertKey(key);
  const originText =
    origin === undefined ? "" : `[${bytesToHex(origin.fingerprint)}${origin.path.map(stepText).join("")}]`;
  const body = `${kind}(${originText}${encodeExtendedKey(key, network)}/<0;1>/*)`;
  const text = `${body}#${descriptorChecksum(body)}`;
  const root = { publicKey: key.publicKey, chainCode: key.chainCode, shift: 0n };
  return {
    kind,
    network,
    key,
    origin,
    text,
    wallet: walletIdOf(text),
    branches: [deriveChild(root, 0), deriveChild(root, 1)],
  };
}

function parseSteps(steps: string): number[] {
  return steps
    .split("/")
    .slice(1)
    .map((step) => {
      const index = Number.parseInt(step, 10);
      if (index >= hardened) {
        throw bitcoinError("descriptor-malformed", "A step of the key origin is 2147483647 at most.", {
          step,
        });
      }
      return /[h']$/.test(step) ? index + hardened : index;
    });
}

function stepText(step: number): string {
  return step >= hardened ? `/${step - hardened}h` : `/${step}`;
}

function assertKey(key: ExtendedKey): void {
  const refuse = (why: string, cause?: unknown) => bitcoinError("descriptor-bad-key", why, {}, cause);
  if (key.publicKey.length !== 33 || key.chainCode.length !== 32) {
    throw refuse("An extended key has a compressed key of 33 bytes and a chain code of 32.");
  }
  if (key.depth === 0 && (key.childNumber !== 0 || key.parentFingerprint.some((byte) => byte !== 0))) {
    throw refuse("An extended key of depth 0 has no parent (BIP-32); this one names one.");
  }
  try {
    Point.fromBytes(key.publicKey);
  } catch (cause) {
    throw refuse("The extended key's public key is no point of the curve.", cause);
  }
}

const privateVersions: readonly number[] = [0x0488ade4, 0x04358394];

function decodeExtendedKey(text: string, network: Network): ExtendedKey {
  let bytes: Uint8Array;
  try {
    bytes = base58.decode(text);
  } catch (cause) {
    throw bitcoinError(
      "descriptor-bad-key",
      "The extended key's checksum is wrong. Export it again.",
      {},
      cause,
    );
  }
  if (bytes.length !== 78) {
    throw bitcoinError("descriptor-bad-key", "An extended key has 78 bytes.", { length: bytes.length });
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint32(0, false);
  if (privateVersions.includes(version)) {
    throw bitcoinError(
      "descriptor-private-key",
      "This descriptor holds a private key. Cairn's wallets have none; consider that key exposed, and use the public one.",
    );
  }
  if (version !== networkParams(network).extendedPublicKey) {
    throw bitcoinError(
      "descriptor-wrong-network",
      `The extended key is not of ${network} (xpub is mainnet, tpub any other). Use the wallet's descriptor on this network.`,
      { network },
    );
  }
  return {
    depth: view.getUint8(4),
    parentFingerprint: bytes.slice(5, 9),
    childNumber: view.getUint32(9, false),
    chainCode: bytes.slice(13, 45),
    publicKey: bytes.slice(45),
  };
}

/** The BIP-32 text (`xpub…` or `tpub…`) of an extended key on `network`. */
export function encodeExtendedKey(key: ExtendedKey, network: Network): string {
  const head = new DataView(new ArrayBuffer(13));
  head.setUint32(0, networkParams(network).extendedPublicKey, false);
  head.setUint8(4, key.depth);
  key.parentFingerprint.forEach((byte, i) => {
    head.setUint8(5 + i, byte);
  });
  head.setUint32(9, key.childNumber, false);
  return base58.encode(concatBytes(new Uint8Array(head.buffer), key.chainCode, key.publicKey));
}

/** First four bytes of HASH160 of a compressed public key (BIP-32). */
function fingerprintOf(publicKey: Uint8Array): Uint8Array {
  return hash.hash160(publicKey).slice(0, 4);
}

/**
 * Fingerprint and full path of a key of the wallet, as PSBT derivation fields carry them: from the key origin where the
 * descriptor has one, otherwise from the extended key itself.
 */
export function fullDerivation(descriptor: Descriptor, path: KeyPath): KeyOrigin {
  const { origin, key } = descriptor;
  return {
    fingerprint: origin?.fingerprint ?? fingerprintOf(key.publicKey),
    path: [...(origin?.path ?? []), ...path],
  };
}

/**
 * The key, script and address at `path`.
 *
 * `wpkh`: P2WPKH of the child key. `tr`: the x-only child key is the internal key, and the output key is
 * P + H_TapTweak(P)·G without script path (BIP-341, BIP-386).
 *
 * @throws CairnError `path-out-of-range` for an index that is hardened or that BIP-32 leaves out
 */
export function deriveKey(descriptor: Descriptor, path: KeyPath): DerivedKey {
  const [key] = deriveKeys(descriptor, [path]);
  if (key === undefined) throw new RangeError("one path gives one key");
  return key;
}

/**
 * {@link deriveKey} for each of `paths`. Keys derived lately are remembered, and many at once cost less than one by one.
 *
 * @throws CairnError `path-out-of-range`
 */
export function deriveKeys(descriptor: Descriptor, paths: readonly KeyPath[]): DerivedKey[] {
  const known = keyMemory(descriptor);
  const found = new Map<string, DerivedKey>();
  for (const branch of [0, 1] as const) {
    const missing = new Map<string, KeyPath>();
    for (const path of paths) {
      if (path[0] !== branch) continue;
      const name = path.join("/");
      const key = known.get(name);
      if (key === undefined) missing.set(name, path);
      else found.set(name, key);
    }
    if (missing.size === 0) continue;
    const nodes = deriveChildren(
      descriptor.branches[branch],
      [...missing.values()].map(([, index]) => index),
    );
    const keys = keysOf(descriptor, [...missing.values()], nodes);
    [...missing.keys()].forEach((name, i) => {
      const key = keys[i];
      if (key === undefined) return;
      found.set(name, key);
      known.set(name, key);
    });
  }
  return paths.map((path) => {
    const key = found.get(path.join("/"));
    if (key === undefined) throw new TypeError("a path begins with the branch 0 or 1");
    return ownCopy(key);
  });
}

/** Its bytes belong to the caller, who may change them without changing what others get. */
function ownCopy(key: DerivedKey): DerivedKey {
  return {
    path: key.path,
    publicKey: key.publicKey.slice(),
    delta: key.delta.slice(),
    xOnlyKey: key.xOnlyKey.slice(),
    signingKey: key.signingKey.slice(),
    script: key.script.slice(),
    address: key.address,
  };
}

function keysOf(
  descriptor: Descriptor,
  paths: readonly KeyPath[],
  nodes: readonly PublicNode[],
): DerivedKey[] {
  const { kind, network } = descriptor;
  const xOnlyKeys = nodes.map((node) => node.publicKey.slice(1));
  const outputKeys = kind === "tr" ? tweakWithoutScript(xOnlyKeys) : [];
  return nodes.map(({ publicKey, shift }, i) => {
    const path = paths[i];
    const xOnlyKey = xOnlyKeys[i];
    const signingKey = kind === "wpkh" ? publicKey : outputKeys[i];
    if (path === undefined || xOnlyKey === undefined || signingKey === undefined) {
      throw new RangeError("each path gives one key");
    }
    const script =
      kind === "wpkh"
        ? encodeOutputScript({ type: "p2wpkh", program: hash.hash160(publicKey) })
        : encodeOutputScript({ type: "p2tr", program: signingKey });
    const address = encodeAddress(script, network);
    if (address === undefined) throw new TypeError("a wallet's script always has an address");
    return { path, publicKey, delta: numberToBytesBE(shift, 32), xOnlyKey, signingKey, script, address };
  });
}

/** BIP-341 output keys of internal keys that commit to no script, x-only, 32 bytes each. */
function tweakWithoutScript(internalKeys: readonly Uint8Array[]): Uint8Array[] {
  const tweaked = internalKeys.map((internalKey) => {
    const tweak = bytesToNumberBE(hash.tagged("TapTweak", internalKey));
    if (tweak >= Point.Fn.ORDER)
      throw bitcoinError("path-out-of-range", "BIP-341 defines no tweak for this key.");
    const even = Point.fromBytes(concatBytes(Uint8Array.of(2), internalKey));
    return even.add(Point.BASE.multiplyUnsafe(tweak));
  });
  return normalizeZ(Point, tweaked).map((point) => point.toBytes(true).slice(1));
}
