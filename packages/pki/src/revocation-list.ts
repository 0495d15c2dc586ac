import {
  CairnError,
  type ClusterId,
  clusterIdSchema,
  decodeCanonical,
  type Ed25519PublicKey,
  encodeCanonical,
  rawPublicKey,
  signBody,
  signedSchema,
  unixMsSchema,
  verifySigned,
} from "@cairn/core";
import { z } from "zod";
import type { Authority } from "./authority.ts";
import { parseCertificate } from "./pem.ts";

/** A certificate's serial number, as OpenSSL prints it: upper-case hexadecimal. */
export const serialSchema = z.string().regex(/^[0-9A-F]{2,40}$/, "expected upper-case hexadecimal digits");

/** Certificates of the authority that are void before their time, signed under `cairn/revocation-list/v1`. */
export const revocationListSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  /** Rises with each list, so that an older one can't come back. */
  number: z.number().int().min(1),
  issuedAt: unixMsSchema,
  revoked: z
    .array(z.strictObject({ serial: serialSchema, revokedAt: unixMsSchema, reason: z.string().max(128) }))
    .max(4096),
});
export type RevocationList = z.output<typeof revocationListSchema>;

export const signedRevocationListSchema = signedSchema(revocationListSchema);
export type SignedRevocationList = z.output<typeof signedRevocationListSchema>;

export function signRevocationList(authority: Authority, list: RevocationList): SignedRevocationList {
  return signBody("cairn/revocation-list/v1", revocationListSchema.parse(list), authority.signer);
}

export function encodeRevocationList(signed: SignedRevocationList): Uint8Array {
  return encodeCanonical(signed);
}

/**
 * Reads and checks a list.
 * @param expected `authority`: the CA's certificate, DER; `atLeast`: number of the list in force, 0 without one
 * @throws CairnError `malformed`, `not-canonical`, `signature-invalid`, `wrong-cluster`, `replayed`
 */
export function openRevocationList(
  encoded: Uint8Array,
  expected: { readonly authority: Uint8Array; readonly cluster: ClusterId; readonly atLeast: number },
): RevocationList {
  const signed = decodeCanonical(signedRevocationListSchema, encoded);
  const key = rawPublicKey(parseCertificate(expected.authority).publicKey) as Ed25519PublicKey;
  if (!verifySigned("cairn/revocation-list/v1", signed, key)) {
    throw new CairnError("signature-invalid", "the revocation list is not signed by the cluster's authority");
  }
  const { body } = signed;
  if (body.cluster !== expected.cluster) {
    throw new CairnError("wrong-cluster", "the revocation list is for another cluster");
  }
  if (body.number < expected.atLeast) {
    throw new CairnError("replayed", "the revocation list is older than the one in force", {
      number: body.number,
      atLeast: expected.atLeast,
    });
  }
  return body;
}
