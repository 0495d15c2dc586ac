import { z } from "zod";
import { domainHash } from "./canonical.ts";
import type { DomainTag } from "./domain.ts";
import { type Signer, verifySignature } from "./identity.ts";
import { type Ed25519PublicKey, type SignatureHex, signatureHexSchema } from "./ids.ts";

/** A body and the signature over it; whose key it is, the body or its context says. */
export interface Signed<Body> {
  readonly body: Body;
  readonly signature: SignatureHex;
}

/** Schema of a signed `body`. */
export function signedSchema<Body extends z.ZodType>(body: Body) {
  return z.strictObject({ body, signature: signatureHexSchema });
}

/** Signs `body` under `domain`. */
export function signBody<Body>(domain: DomainTag, body: Body, signer: Signer): Signed<Body> {
  return { body, signature: signer.sign(domain, body) };
}

/** Whether `signed` carries `publicKey`'s signature under `domain`. */
export function verifySigned<Body>(
  domain: DomainTag,
  signed: Signed<Body>,
  publicKey: Ed25519PublicKey,
): boolean {
  return verifySignature(domain, signed.body, publicKey, signed.signature);
}

/** The hash that names `body` under `domain`, as an id type of the caller's. */
export function bodyHash<Id extends string>(domain: DomainTag, body: unknown): Id {
  return domainHash(domain, body) as Id;
}
