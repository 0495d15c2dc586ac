import { createHash, createHmac } from "node:crypto";
import {
  CairnError,
  concatBytes,
  decodeCanonical,
  encodeCanonical,
  fromHex,
  type KeyPath,
  keyIdSchema,
  keyPathSchema,
  nodeIndexSchema,
  type Protocol,
  presignatureIdSchema,
  protocolSchema,
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
  nonce: bytes32,
  secret: bytes32,
});

export const memoryPublicDataSchema = z.strictObject({
  twin,
  presignatureId: presignatureIdSchema,
  path: keyPathSchema,
  commitments: z.array(z.strictObject({ node: nodeIndexSchema, hash: bytes32 })).max(255),
});

export const memoryPartialSchema = z.strictObject({ nonce: bytes32, digest: bytes32, secret: bytes32 });

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

/** Whether `secret` is the key of the package. */
export function isSecretOf(key: Pick<MemoryPackage, "publicKey">, secret: Uint8Array): boolean {
  const valid = secp256k1.utils.isValidSecretKey(secret);
  return valid && Buffer.compare(secp256k1.getPublicKey(secret, true), key.publicKey) === 0;
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
