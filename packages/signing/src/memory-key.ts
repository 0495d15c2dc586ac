import { createHash, createHmac } from "node:crypto";
import { type EcdsaPublicData, ecdsaR, writeEcdsaPartial } from "@cairn/consensus";
import {
  CairnError,
  concatBytes,
  decodeCanonical,
  encodeCanonical,
  fromHex,
  type HashHex,
  type KeyPath,
  keyIdSchema,
  keyPathSchema,
  type NodeIndex,
  nodeIndexSchema,
  type PresignatureId,
  type Protocol,
  presignatureIdSchema,
  protocolSchema,
  toHex,
} from "@cairn/core";
import { schnorr, secp256k1 } from "@noble/curves/secp256k1.js";
import { z } from "zod";
import { byteArraySchema } from "./byte-array.ts";
import type { EngineSignature } from "./engine.ts";

/**
 * Structures and arithmetic of the in-memory engine, for tests: every "share" holds the whole key in the clear. Signatures verify as real ones do,
 * so that what stands above the engine can be tested end to end; nothing here protects anything.
 */
const twin = z.literal("memory-engine");
const bytes32 = byteArraySchema(32);
const nodes = z.array(nodeIndexSchema).max(255);

export const memoryPackageSchema = z.strictObject({
  twin,
  protocol: protocolSchema,
  keyId: keyIdSchema,
  epoch: z.number().int(),
  parties: nodes,
  threshold: z.number().int(),
  publicKey: byteArraySchema(33),
  chainCode: bytes32,
});
export type MemoryPackage = z.output<typeof memoryPackageSchema>;

export const memoryAuxSchema = z.strictObject({
  twin,
  kind: z.literal("aux"),
  node: nodeIndexSchema,
  parties: nodes,
  /** Hash of all parties' contributions. */
  digest: bytes32,
});

export const memoryShareSchema = z.strictObject({
  twin,
  kind: z.literal("share"),
  node: nodeIndexSchema,
  package: memoryPackageSchema,
  secret: bytes32,
});
export type MemoryShare = z.output<typeof memoryShareSchema>;

export const memoryPresignatureSchema = z.strictObject({
  twin,
  kind: z.literal("presignature"),
  node: nodeIndexSchema,
  keyId: keyIdSchema,
  epoch: z.number().int(),
  presignatureId: presignatureIdSchema,
  path: keyPathSchema,
  signers: nodes,
  /** This signer's part of the nonce, k_j; all of them add up to k. */
  nonce: bytes32,
  /** r of the signature times the child's whole secret. */
  rSecret: bytes32,
});

/** SHA-256 over the canonical encoding of all parts. */
export function digestOf(...parts: readonly unknown[]): Uint8Array {
  return new Uint8Array(createHash("sha256").update(encodeCanonical(parts)).digest());
}

/** Canonical bytes of one of the structures above. */
export function sealInTheClear(value: unknown): Uint8Array {
  return encodeCanonical(value);
}

/** @throws CairnError `sealed-blob-invalid` when `blob` is not such a structure */
export function openInTheClear<Schema extends z.ZodType>(schema: Schema, blob: Uint8Array): z.output<Schema> {
  try {
    return decodeCanonical(schema, blob);
  } catch (cause) {
    throw new CairnError(
      "sealed-blob-invalid",
      "the blob was not made by the in-memory engine",
      {},
      { cause },
    );
  }
}

/** A key from everybody's contributions. */
export function memoryKey(contributions: readonly Uint8Array[]): {
  readonly secret: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly chainCode: Uint8Array;
} {
  const scalar = toScalar(digestOf("secret", contributions));
  return {
    secret: fromScalar(scalar),
    publicKey: secp256k1.getPublicKey(fromScalar(scalar), true),
    chainCode: digestOf("chain-code", contributions),
  };
}

/**
 * A presignature of which everybody knows everything: Γ = k⁻¹·G for k = Σ k_j, Δ̃_j = k_j·Γ and S̃_j = x·Δ̃_j, so that the partials
 * k_j·(m + r·x) fit their public data and add up to a signature, as those of the real protocol do.
 */
export function presignInTheClear(
  { package: key, secret }: Pick<MemoryShare, "package" | "secret">,
  item: { readonly presignatureId: PresignatureId; readonly path: KeyPath },
  nonces: readonly { readonly node: NodeIndex; readonly nonce: Uint8Array }[],
): { readonly publicData: Uint8Array; readonly rSecret: Uint8Array } {
  const { BASE } = secp256k1.Point;
  const child = childSecret(key, secret, item.path);
  const parts = nonces.map(({ nonce }) => toScalar(nonce));
  const inverse = Fn.inv(parts.reduce((sum, part) => Fn.add(sum, part), 0n));
  const data: EcdsaPublicData = {
    v: 1,
    id: fromHex(item.presignatureId),
    path: [...item.path],
    epoch: key.epoch,
    gamma: BASE.multiply(inverse).toBytes(true),
    keyId: fromHex(key.keyId),
    level: "reduced",
    signers: nonces.map(({ node }) => node),
    childKey: BASE.multiply(child).toBytes(true),
    commitments: parts.map((part) => {
      const delta = Fn.mul(part, inverse);
      return [BASE.multiply(delta).toBytes(true), BASE.multiply(Fn.mul(delta, child)).toBytes(true)];
    }),
  };
  return {
    publicData: encodeCanonical(data),
    rSecret: fromScalar(Fn.mul(ecdsaR(data), child)),
  };
}

/** The partial of a presignature made by {@link presignInTheClear}: k_j·(m + r·x). */
export function partialInTheClear(
  presignature: z.output<typeof memoryPresignatureSchema>,
  preimage: Uint8Array,
): Uint8Array {
  const { nonce, rSecret, presignatureId } = presignature;
  const sigma = Fn.mul(toScalar(nonce), Fn.add(toScalar(sha256d(preimage)), toScalar(rSecret)));
  return writeEcdsaPartial(fromHex(presignatureId), sigma);
}

/** r ‖ Σ σ_j with low s, from partials that were checked. */
export function combineInTheOpen(data: EcdsaPublicData, sigmas: readonly bigint[]): EngineSignature {
  const s = sigmas.reduce((sum, sigma) => Fn.add(sum, sigma), 0n);
  const low = s > Fn.ORDER / 2n ? Fn.neg(s) : s;
  return concatBytes(fromScalar(ecdsaR(data)), fromScalar(low));
}

/** What a partial signs, as peers write it. */
export function sighashOf(preimage: Uint8Array): HashHex {
  return toHex(sha256d(preimage)) as HashHex;
}

/** Signs as the engine's protocols do: SHA256d and low s (BIP-143), or TapSighash under the tweaked child key (BIP-341). */
export function signInTheClear(
  key: MemoryPackage,
  secret: Uint8Array,
  path: KeyPath,
  preimage: Uint8Array,
): EngineSignature {
  const child = childSecret(key, secret, path);
  if (key.protocol === "frost") {
    return schnorr.sign(taggedHash("TapSighash", preimage), tweakSecret(child), new Uint8Array(32));
  }
  return secp256k1.sign(sha256d(preimage), fromScalar(child), { prehash: false, lowS: true });
}

/** Verifies what {@link signInTheClear} made, from public data alone. */
export function verifyInTheOpen(
  key: MemoryPackage,
  path: KeyPath,
  preimage: Uint8Array,
  signature: EngineSignature,
): boolean {
  if (signature.length !== 64) return false;
  const child = childPoint(key, path);
  if (key.protocol === "cggmp24") {
    return secp256k1.verify(signature, sha256d(preimage), child.toBytes(true), {
      prehash: false,
      lowS: true,
    });
  }
  const x = child.toBytes(true).slice(1);
  const even = schnorr.Point.fromBytes(concatBytes(Uint8Array.of(2), x));
  const output = even.add(schnorr.Point.BASE.multiply(toScalar(taggedHash("TapTweak", x))));
  return schnorr.verify(signature, taggedHash("TapSighash", preimage), output.toBytes(true).slice(1));
}

/** Which protocol a kind of engine session belongs to. */
export function protocolOf(kind: string): Protocol {
  return kind.startsWith("frost") ? "frost" : "cggmp24";
}

const { Fn } = secp256k1.Point;

function childSecret(key: MemoryPackage, secret: Uint8Array, path: KeyPath): bigint {
  return Fn.create(toScalar(secret) + shiftOf(key, path));
}

function childPoint(key: MemoryPackage, path: KeyPath) {
  const shift = shiftOf(key, path);
  const root = secp256k1.Point.fromBytes(key.publicKey);
  return root.add(secp256k1.Point.BASE.multiply(shift));
}

/** δ of the unhardened BIP-32 path: the child key is root + δ·G. */
function shiftOf(key: MemoryPackage, path: KeyPath): bigint {
  let shift = 0n;
  let point = secp256k1.Point.fromBytes(key.publicKey);
  let chainCode: Uint8Array = key.chainCode;
  for (const index of path) {
    const step = new Uint8Array(4);
    new DataView(step.buffer).setUint32(0, index, false);
    const digest = createHmac("sha512", chainCode).update(point.toBytes(true)).update(step).digest();
    const left = toScalar(digest.subarray(0, 32));
    point = point.add(secp256k1.Point.BASE.multiply(left));
    shift = Fn.create(shift + left);
    chainCode = new Uint8Array(digest.subarray(32));
  }
  return shift;
}

/** BIP-341 key path without a script: negate to even y, then add the tweak. */
function tweakSecret(child: bigint): Uint8Array {
  const point = secp256k1.Point.BASE.multiply(child);
  const even = point.toBytes(true)[0] === 2 ? child : Fn.neg(child);
  const tweak = toScalar(taggedHash("TapTweak", point.toBytes(true).slice(1)));
  return fromScalar(Fn.create(even + tweak));
}

function toScalar(value: Uint8Array): bigint {
  return Fn.create(BigInt(`0x${Buffer.from(value).toString("hex")}`));
}

function fromScalar(value: bigint): Uint8Array {
  return fromHex(value.toString(16).padStart(64, "0"));
}

function sha256d(preimage: Uint8Array): Uint8Array {
  const once = createHash("sha256").update(preimage).digest();
  return new Uint8Array(createHash("sha256").update(once).digest());
}

/** BIP-340: SHA-256(SHA-256(tag) ‖ SHA-256(tag) ‖ message). */
function taggedHash(tag: string, message: Uint8Array): Uint8Array {
  const prefix = createHash("sha256").update(tag, "utf8").digest();
  return new Uint8Array(createHash("sha256").update(prefix).update(prefix).update(message).digest());
}
