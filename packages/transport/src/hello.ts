import {
  CairnError,
  type ClusterId,
  clusterIdSchema,
  decodeCanonical,
  type Ed25519PublicKey,
  encodeCanonical,
  hashHexSchema,
  type NodeIndex,
  nodeIndexSchema,
  nonceSchema,
  type Signer,
  signBody,
  signedSchema,
  verifySigned,
} from "@cairn/core";
import { z } from "zod";

export const helloSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  from: nodeIndexSchema,
  to: nodeIndexSchema,
  role: z.enum(["dialer", "listener"]),
  /** Drawn at each start of the node: tells a restart from a second connection. */
  boot: nonceSchema,
  epoch: z.number().int().min(0),
  /** Versions of the peer protocol that the sender speaks. */
  protocolVersions: z.array(z.number().int().min(1)).min(1).max(16),
  /** Exported keying material of the TLS connection (RFC 8446 §7.5), so that a HELLO holds on no other. */
  binding: hashHexSchema,
});
/** What each side of a connection proves before it counts as up. Signed under `cairn/hello/v1` with the node's identity key. */
export type Hello = z.output<typeof helloSchema>;

const signedHelloSchema = signedSchema(helloSchema);

/** Largest encoded HELLO, with room. */
export const MAX_HELLO_BYTES = 4096;

export function encodeHello(hello: Hello, signer: Signer): Uint8Array {
  return encodeCanonical(signBody("cairn/hello/v1", hello, signer));
}

export interface HelloExpectation {
  readonly cluster: ClusterId;
  readonly from: NodeIndex;
  readonly me: NodeIndex;
  readonly role: Hello["role"];
  readonly binding: string;
  readonly senderKey: Ed25519PublicKey;
}

/**
 * Reads and checks a peer's HELLO.
 * @throws CairnError `malformed`, `not-canonical`, `wrong-cluster`, `not-member` (it names another sender than its certificate),
 *   `wrong-recipient`, `handshake-failed` (made for another connection), `signature-invalid`
 */
export function openHello(encoded: Uint8Array, expected: HelloExpectation): Hello {
  const signed = decodeCanonical(signedHelloSchema, encoded);
  const { body } = signed;
  if (body.cluster !== expected.cluster) {
    throw new CairnError("wrong-cluster", "the peer belongs to another cluster");
  }
  if (body.from !== expected.from) {
    throw new CairnError("not-member", "the peer's HELLO names another node than its certificate", {
      certificate: expected.from,
      hello: body.from,
    });
  }
  if (body.to !== expected.me) {
    throw new CairnError("wrong-recipient", "the peer's HELLO is for another node; check its addresses", {
      to: body.to,
    });
  }
  if (!verifySigned("cairn/hello/v1", signed, expected.senderKey)) {
    throw new CairnError("signature-invalid", "the peer's HELLO is not signed by its identity key", {
      from: body.from,
    });
  }
  if (body.binding !== expected.binding || body.role !== expected.role) {
    throw new CairnError("handshake-failed", "the peer's HELLO was made for another connection", {
      from: body.from,
    });
  }
  return body;
}

/**
 * The highest version that both speak.
 * @throws CairnError `unsupported-version`
 */
export function commonVersion(own: readonly number[], theirs: readonly number[]): number {
  const common = own.filter((version) => theirs.includes(version));
  if (common.length > 0) return Math.max(...common);
  throw new CairnError(
    "unsupported-version",
    "this node and its peer have no protocol version in common; upgrade the older one",
    { own, theirs },
  );
}

const refusalSchema = z.strictObject({ code: z.string().regex(/^[A-Za-z][A-Za-z-]{0,31}$/) });

/** Says why a connection ends. */
export function encodeRefusal(code: string): Uint8Array {
  return encodeCanonical({ code });
}

/** @throws CairnError `malformed`, `not-canonical` */
export function decodeRefusal(encoded: Uint8Array): string {
  return decodeCanonical(refusalSchema, encoded).code;
}
