import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { fromHex, toHex } from "./bytes.ts";
import { domainBytes } from "./canonical.ts";
import type { DomainTag } from "./domain.ts";
import { CairnError } from "./error.ts";
import type { Ed25519PublicKey, SignatureHex, X25519PublicKey } from "./ids.ts";

/** ASN.1 prefix of a SubjectPublicKeyInfo with an Ed25519 key (RFC 8410 §4). */
const ED25519_SPKI = Buffer.from("302a300506032b6570032100", "hex");

/** Something that can sign under a domain tag: a node's, an operator's or a requester's Ed25519 key. */
export interface Signer {
  readonly publicKey: Ed25519PublicKey;
  /** Ed25519 (RFC 8032) over tag ‖ 0x00 ‖ DAG-CBOR(body). */
  sign(domain: DomainTag, body: unknown): SignatureHex;
}

/** A signer over a private key that stays inside OpenSSL. */
export class Ed25519Signer implements Signer {
  readonly publicKey: Ed25519PublicKey;
  readonly #key: KeyObject;

  private constructor(key: KeyObject) {
    this.#key = key;
    this.publicKey = rawPublicKey(createPublicKey(key)) as Ed25519PublicKey;
  }

  /** A new key from the operating system's random source. */
  static generate(): Ed25519Signer {
    return new Ed25519Signer(generateKeyPairSync("ed25519").privateKey);
  }

  /**
   * @param pem PKCS#8 PEM as bytes, as {@link Ed25519Signer.toPem} wrote it
   * @throws CairnError `malformed` when it holds no Ed25519 key
   */
  static fromPem(pem: Uint8Array): Ed25519Signer {
    return new Ed25519Signer(readPrivateKey(pem, "ed25519"));
  }

  sign(domain: DomainTag, body: unknown): SignatureHex {
    return toHex(sign(null, domainBytes(domain, body), this.#key)) as SignatureHex;
  }

  /** PKCS#8 PEM bytes, for a file of mode 0600. */
  toPem(): Uint8Array {
    return Buffer.from(this.#key.export({ type: "pkcs8", format: "pem" }));
  }

  /** The key itself, for TLS, which signs handshakes with it. */
  get keyObject(): KeyObject {
    return this.#key;
  }
}

/** Reads a PKCS#8 PEM private key of one type. */
export function readPrivateKey(pem: Uint8Array, type: "ed25519" | "x25519"): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: Buffer.from(pem), format: "pem" });
  } catch (cause) {
    throw new CairnError("malformed", `the key file does not hold a PKCS#8 PEM ${type} key`, {}, { cause });
  }
  if (key.asymmetricKeyType !== type) {
    throw new CairnError("malformed", `the key file holds a key of another type than ${type}`, {});
  }
  return key;
}

/** The 32 raw bytes of an Ed25519 or X25519 public key, in hex. */
export function rawPublicKey(key: KeyObject): Ed25519PublicKey | X25519PublicKey {
  return toHex(key.export({ type: "spki", format: "der" }).subarray(-32)) as Ed25519PublicKey;
}

const publicKeyCache = new Map<string, KeyObject>();
const PUBLIC_KEY_CACHE_LIMIT = 1024;

function publicKeyObject(publicKey: Ed25519PublicKey): KeyObject {
  const cached = publicKeyCache.get(publicKey);
  if (cached !== undefined) return cached;
  const key = createPublicKey({
    key: Buffer.concat([ED25519_SPKI, fromHex(publicKey)]),
    format: "der",
    type: "spki",
  });
  if (publicKeyCache.size >= PUBLIC_KEY_CACHE_LIMIT) publicKeyCache.clear();
  publicKeyCache.set(publicKey, key);
  return key;
}

/** Hashes of signatures that verify, with what they are over and whose they are. Oldest first. */
const valid = new Set<string>();
const VALID_LIMIT = 4096;

function signatureId(bytes: Uint8Array, publicKey: Ed25519PublicKey, signature: SignatureHex): string {
  return hash(
    "sha256",
    Buffer.concat([Buffer.from(`${publicKey}/${signature}/`, "latin1"), bytes]),
    "base64",
  );
}

/**
 * Whether `signature` is `publicKey`'s over `body` under `domain`. Never throws for wrong signatures. A vote is met as such, in certificates and
 * in grants, so signatures that verified lately are not verified again.
 */
export function verifySignature(
  domain: DomainTag,
  body: unknown,
  publicKey: Ed25519PublicKey,
  signature: SignatureHex,
): boolean {
  const bytes = domainBytes(domain, body);
  const id = signatureId(bytes, publicKey, signature);
  if (valid.has(id)) return true;
  if (!verify(null, bytes, publicKeyObject(publicKey), fromHex(signature))) return false;
  if (valid.size >= VALID_LIMIT)
    for (const oldest of [...valid].slice(0, VALID_LIMIT / 2)) valid.delete(oldest);
  valid.add(id);
  return true;
}

/** {@link verifySignature} for what is met once. */
export function verifyNewSignature(
  domain: DomainTag,
  body: unknown,
  publicKey: Ed25519PublicKey,
  signature: SignatureHex,
): boolean {
  return verify(null, domainBytes(domain, body), publicKeyObject(publicKey), fromHex(signature));
}
