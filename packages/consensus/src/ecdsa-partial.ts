import { decodeCanonical, type HashHex, type NodeIndex } from "@cairn/core";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { z } from "zod";

const { Point } = secp256k1;
const { Fn } = Point;

const bytesOf = (length: number) =>
  z
    .custom<Uint8Array>((value) => value instanceof Uint8Array, "expected bytes")
    .refine((bytes) => bytes.length === length, `expected ${length} bytes`);

const pointSchema = bytesOf(33).refine((bytes) => {
  try {
    Point.fromBytes(bytes).assertValidity();
    return true;
  } catch {
    return false;
  }
}, "expected a compressed point of secp256k1");

/**
 * What all signers of an ECDSA presignature know alike (CGGMP24, figure 8, with the sums divided by δ): Γ, whose x coordinate is the signature's
 * r, and a pair (Δ̃_j, S̃_j) for each signer, against which its partial is checked. The engine makes it.
 */
export const ecdsaPublicDataSchema = z
  .strictObject({
    v: z.literal(1),
    id: bytesOf(32),
    path: z.tuple([z.number().int().min(0), z.number().int().min(0)]),
    epoch: z.number().int().min(0),
    gamma: pointSchema,
    keyId: bytesOf(32),
    level: z.enum(["full", "reduced"]),
    signers: z.array(z.number().int().min(1).max(255)).min(2).max(255),
    childKey: pointSchema,
    /** In the order of `signers`. */
    commitments: z.array(z.tuple([pointSchema, pointSchema])).max(255),
  })
  .refine((data) => data.commitments.length === data.signers.length, "expected a commitment for each signer");
export type EcdsaPublicData = z.output<typeof ecdsaPublicDataSchema>;

/** @throws CairnError `malformed`, `not-canonical`, `too-large` */
export function readEcdsaPublicData(bytes: Uint8Array): EcdsaPublicData {
  return decodeCanonical(ecdsaPublicDataSchema, bytes);
}

/** r of the signature: the x coordinate of Γ, modulo the order. */
export function ecdsaR(data: EcdsaPublicData): bigint {
  return Fn.create(Point.fromBytes(data.gamma).toAffine().x);
}

const PARTIAL_VERSION = 1;

/** A partial's encoding: version (1) ‖ presignature id (32) ‖ σ (32). */
export function writeEcdsaPartial(id: Uint8Array, sigma: bigint): Uint8Array {
  return Uint8Array.of(PARTIAL_VERSION, ...id, ...Fn.toBytes(sigma));
}

/** σ of a partial of the presignature `id`, or null where the bytes are none. */
export function readEcdsaPartial(partial: Uint8Array, id: Uint8Array): bigint | null {
  if (partial.length !== 65 || partial[0] !== PARTIAL_VERSION) return null;
  if (Buffer.compare(partial.subarray(1, 33), id) !== 0) return null;
  const sigma = BigInt(`0x${Buffer.from(partial.subarray(33)).toString("hex")}`);
  return sigma < Fn.ORDER ? sigma : null;
}

/** Whether the partial of `from` over `sighash` is right: σ_j·Γ = m·Δ̃_j + r·S̃_j. */
export function isEcdsaPartialRight(
  data: EcdsaPublicData,
  {
    from,
    sighash,
    partial,
  }: { readonly from: NodeIndex; readonly sighash: HashHex; readonly partial: Uint8Array },
): boolean {
  const commitment = data.commitments[data.signers.indexOf(from)];
  const sigma = readEcdsaPartial(partial, data.id);
  if (commitment === undefined || sigma === null) return false;
  const [delta, s] = commitment.map((bytes) => Point.fromBytes(bytes));
  if (delta === undefined || s === undefined) return false;
  // All of it is public: nothing here needs constant time.
  const m = Fn.create(BigInt(`0x${sighash}`));
  const expected = delta.multiplyUnsafe(m).add(s.multiplyUnsafe(ecdsaR(data)));
  return Point.fromBytes(data.gamma).multiplyUnsafe(sigma).equals(expected);
}
