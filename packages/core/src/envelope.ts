import { createPublicKey, generateKeyPairSync, type KeyObject, type webcrypto } from "node:crypto";
import { z } from "zod";
import { fromHex } from "./bytes.ts";
import { decodeCanonical, Encoded } from "./canonical.ts";
import { CairnError } from "./error.ts";
import { createHpkeSuite, keyPairOf } from "./hpke-suite.ts";
import { rawPublicKey, readPrivateKey, type Signer, verifyNewSignature } from "./identity.ts";
import {
  type ClusterId,
  clusterIdSchema,
  type Ed25519PublicKey,
  type NodeIndex,
  nodeIndexSchema,
  sessionIdSchema,
  signatureHexSchema,
  unixMsSchema,
  type X25519PublicKey,
} from "./ids.ts";
import { messageKinds } from "./message-kind.ts";

/** What everybody on the way may read; all of it is authenticated by the seal (as associated data) and the signature. */
export const envelopeHeaderSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  /** The sender's epoch. */
  epoch: z.number().int().min(0),
  session: sessionIdSchema.nullable(),
  round: z.number().int().min(0).max(255),
  from: nodeIndexSchema,
  to: nodeIndexSchema,
  /** Rises with every envelope from this sender to this recipient within an epoch. */
  seq: z.number().int().min(0),
  sentAt: unixMsSchema,
  kind: z.enum(messageKinds),
  trace: z.string().max(128).nullable(),
});
export type EnvelopeHeader = z.output<typeof envelopeHeaderSchema>;

const bytes = z.instanceof(Uint8Array);

/** Envelope v1: header, HPKE encapsulated key, ciphertext, and the sender's signature over all three. */
export const envelopeSchema = z.strictObject({
  header: envelopeHeaderSchema,
  enc: bytes.refine((value) => value.length === 32, "an X25519 encapsulated key has 32 bytes"),
  ciphertext: bytes,
  signature: signatureHexSchema,
});
export type Envelope = z.output<typeof envelopeSchema>;

const suite = createHpkeSuite();
const HPKE_INFO = Buffer.from("cairn/envelope/v1", "utf8");

/** The X25519 key to which envelopes for a node are sealed, or an ephemeral one for keygen and refresh. */
export class SealingKey {
  readonly publicKey: X25519PublicKey;
  readonly #key: KeyObject;
  #imported: webcrypto.CryptoKeyPair | null = null;

  private constructor(key: KeyObject) {
    this.#key = key;
    this.publicKey = rawPublicKey(createPublicKey(key)) as X25519PublicKey;
  }

  static generate(): SealingKey {
    return new SealingKey(generateKeyPairSync("x25519").privateKey);
  }

  /** @param pem PKCS#8 PEM bytes */
  static fromPem(pem: Uint8Array): SealingKey {
    return new SealingKey(readPrivateKey(pem, "x25519"));
  }

  /** PKCS#8 PEM bytes, for a file of mode 0600. */
  toPem(): Uint8Array {
    return Buffer.from(this.#key.export({ type: "pkcs8", format: "pem" }));
  }

  /** The pair as the HPKE suite takes it. */
  pair(): webcrypto.CryptoKeyPair {
    this.#imported ??= keyPairOf(this.#key);
    return this.#imported;
  }
}

const recipientKeys = new Map<X25519PublicKey, webcrypto.CryptoKey>();
const RECIPIENT_KEYS_LIMIT = 256;

async function recipientKey(recipient: X25519PublicKey): Promise<webcrypto.CryptoKey> {
  const known = recipientKeys.get(recipient);
  if (known !== undefined) return known;
  const key = await suite.kem.deserializePublicKey(toArrayBuffer(fromHex(recipient)));
  if (recipientKeys.size >= RECIPIENT_KEYS_LIMIT) recipientKeys.clear();
  recipientKeys.set(recipient, key);
  return key;
}

/** Seals `payload` to the recipient and signs the whole. */
export async function sealEnvelope(
  header: EnvelopeHeader,
  payload: Uint8Array,
  recipient: X25519PublicKey,
  signer: Signer,
): Promise<Uint8Array> {
  const recipientPublicKey = await recipientKey(recipient);
  const sender = await suite.createSenderContext({ recipientPublicKey, info: toArrayBuffer(HPKE_INFO) });
  const encodedHeader = Encoded.of(header);
  const ciphertext = await sender.seal(toArrayBuffer(payload), toArrayBuffer(encodedHeader.bytes));
  const parts = {
    header: encodedHeader,
    enc: Encoded.of(new Uint8Array(sender.enc)),
    ciphertext: Encoded.of(new Uint8Array(ciphertext)),
  };
  const signature = signer.sign("cairn/envelope/v1", Encoded.map(parts));
  return Encoded.map({ ...parts, signature: Encoded.of(signature) }).bytes;
}

/** Reads an envelope's outside. Nothing in it is believed before {@link openEnvelope}. */
export function decodeEnvelope(frame: Uint8Array): Envelope {
  return decodeCanonical(envelopeSchema, frame);
}

/** What an envelope is checked against before any other work is done for it. */
export interface EnvelopeExpectation {
  readonly cluster: ClusterId;
  readonly me: NodeIndex;
  /** The peer that the transport authenticated. */
  readonly from: NodeIndex;
  readonly senderKey: Ed25519PublicKey;
  readonly now: number;
  /** Largest difference between the sender's clock and ours that is believed, in milliseconds. */
  readonly clockSkewMs: number;
}

/** Whether an envelope's signature is `senderKey`'s. */
function isSignedBy(envelope: Envelope, senderKey: Ed25519PublicKey, header = Encoded.of(envelope.header)) {
  const { enc, ciphertext, signature } = envelope;
  const body = Encoded.map({ header, enc: Encoded.of(enc), ciphertext: Encoded.of(ciphertext) });
  return verifyNewSignature("cairn/envelope/v1", body, senderKey, signature);
}

/**
 * Checks all of an envelope but what is sealed in it.
 * @throws CairnError `wrong-cluster`, `wrong-recipient`, `not-member`, `clock-skew`, `signature-invalid`
 */
export function checkEnvelope(
  envelope: Envelope,
  expected: EnvelopeExpectation,
  isSigned: (envelope: Envelope, senderKey: Ed25519PublicKey) => boolean = isSignedBy,
): void {
  const { header } = envelope;
  if (header.cluster !== expected.cluster)
    throw new CairnError("wrong-cluster", "the envelope is for another cluster");
  if (header.from !== expected.from) {
    throw new CairnError("not-member", "the envelope names another sender than its connection", {
      from: header.from,
    });
  }
  if (header.to !== expected.me) {
    throw new CairnError("wrong-recipient", "the envelope is for another node", { to: header.to });
  }
  if (Math.abs(header.sentAt - expected.now) > expected.clockSkewMs) {
    throw new CairnError(
      "clock-skew",
      "the envelope's time is too far from this node's clock; check both clocks",
      {
        sentAt: header.sentAt,
        now: expected.now,
      },
    );
  }
  if (!isSigned(envelope, expected.senderKey)) {
    throw new CairnError("signature-invalid", "the envelope's signature does not verify", {
      from: header.from,
    });
  }
}

/**
 * Checks an envelope and opens it.
 * @throws CairnError what {@link checkEnvelope} throws, and `malformed`
 */
export async function openEnvelope(
  envelope: Envelope,
  expected: EnvelopeExpectation,
  key: SealingKey,
): Promise<Uint8Array> {
  const encodedHeader = Encoded.of(envelope.header);
  checkEnvelope(envelope, expected, (given, sender) => isSignedBy(given, sender, encodedHeader));
  const { header, enc, ciphertext } = envelope;
  try {
    const recipient = await suite.createRecipientContext({
      recipientKey: key.pair(),
      enc: toArrayBuffer(enc),
      info: toArrayBuffer(HPKE_INFO),
    });
    return new Uint8Array(
      await recipient.open(toArrayBuffer(ciphertext), toArrayBuffer(encodedHeader.bytes)),
    );
  } catch (cause) {
    throw new CairnError(
      "malformed",
      "the envelope does not open under this node's sealing key",
      { from: header.from },
      { cause },
    );
  }
}

/** What makes and opens envelopes: {@link hpkeBox}, or a twin of it where time is virtual and nothing is secret. */
export interface EnvelopeBox {
  readonly seal: typeof sealEnvelope;
  readonly open: typeof openEnvelope;
}

/** Envelopes as they travel between nodes. */
export const hpkeBox: EnvelopeBox = { seal: sealEnvelope, open: openEnvelope };

function toArrayBuffer(view: Uint8Array): ArrayBuffer {
  const copy = new ArrayBuffer(view.byteLength);
  new Uint8Array(copy).set(view);
  return copy;
}
