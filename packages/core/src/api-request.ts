import { z } from "zod";
import { sha256Hex } from "./canonical.ts";
import { CairnError } from "./error.ts";
import type { Signer } from "./identity.ts";
import {
  type ClusterId,
  clusterIdSchema,
  type Ed25519PublicKey,
  ed25519PublicKeySchema,
  type HashHex,
  hashHexSchema,
  type NodeIndex,
  nodeIndexSchema,
  nonceSchema,
  type UnixMs,
  unixMsSchema,
} from "./ids.ts";
import { type Signed, signBody, signedSchema, verifySigned } from "./signed.ts";

/**
 * One HTTP request of a caller that the manifest knows by key (a node at the registry, a coordinator at a node, an operator), signed under
 * `cairn/api-request/v1`. It says who calls and opens a door, as a token does; what is asked for may need a signature of its own.
 */
export const apiRequestSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  /** The key that signs. */
  caller: ed25519PublicKeySchema,
  /** The node that is called; null for a coordinator. */
  node: nodeIndexSchema.nullable(),
  method: z.enum(["GET", "POST", "PUT", "PATCH", "DELETE"]),
  /** Path and query as they stand in the request line. */
  path: z.string().startsWith("/").max(2048),
  /** SHA-256 of the body as sent; of nothing for none. */
  bodyHash: hashHexSchema,
  /** The receiver remembers it for as long as the clock difference that it believes lets the request in. */
  nonce: nonceSchema,
  createdAt: unixMsSchema,
});
export type ApiRequest = z.output<typeof apiRequestSchema>;

export const signedApiRequestSchema = signedSchema(apiRequestSchema);
export type SignedApiRequest = Signed<ApiRequest>;

export function signApiRequest(request: ApiRequest, caller: Signer): SignedApiRequest {
  return signBody("cairn/api-request/v1", request, caller);
}

/** `bodyHash` of these bytes. */
export function apiBodyHash(body: Uint8Array): HashHex {
  return sha256Hex(body) as HashHex;
}

/** The request as it came in, and who may make it. */
export interface ApiRequestContext {
  readonly cluster: ClusterId;
  /** This node; null at a coordinator. */
  readonly me: NodeIndex | null;
  /** Keys that may call this endpoint. */
  readonly callers: readonly Ed25519PublicKey[];
  readonly method: string;
  readonly path: string;
  readonly body: Uint8Array;
  readonly now: UnixMs;
  /** Largest difference between the caller's clock and ours that is believed, in milliseconds. */
  readonly clockSkewMs: number;
}

/**
 * Checks that `signed` was made by one of the callers for exactly this request. The nonce is the receiver's to remember.
 * @throws CairnError `wrong-cluster`, `wrong-recipient`, `forbidden` (no such caller), `signature-invalid` (forged, or made for another
 * request), `clock-skew`
 */
export function verifyApiRequest(signed: SignedApiRequest, context: ApiRequestContext): void {
  const { body } = signed;
  if (body.cluster !== context.cluster)
    throw new CairnError("wrong-cluster", "the API request is signed for another cluster");
  if (body.node !== context.me) {
    throw new CairnError("wrong-recipient", "the API request is signed for another receiver", {
      node: body.node,
    });
  }
  if (!context.callers.includes(body.caller)) {
    throw new CairnError("forbidden", "the API request's key may not call this; see the manifest", {
      caller: body.caller,
    });
  }
  const sameRequest =
    body.method === context.method &&
    body.path === context.path &&
    body.bodyHash === apiBodyHash(context.body);
  if (!sameRequest || !verifySigned("cairn/api-request/v1", signed, body.caller)) {
    throw new CairnError(
      "signature-invalid",
      "the API request's signature is not its caller's, or was made for another request",
      { caller: body.caller },
    );
  }
  if (Math.abs(body.createdAt - context.now) > context.clockSkewMs) {
    throw new CairnError("clock-skew", "the API request's time is too far from this clock; check both", {
      createdAt: body.createdAt,
      now: context.now,
    });
  }
}
