import {
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  generateKeyPairSync,
  KeyObject,
  type webcrypto,
} from "node:crypto";
import { Dhkem, type DhkemPrimitives, KemId } from "@hpke/common";
import { type AeadEncryptionContext, Aes256Gcm, CipherSuite, HkdfSha256 } from "@hpke/core";
import { expand, extract } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";

type CryptoKey = webcrypto.CryptoKey;
type CryptoKeyPair = webcrypto.CryptoKeyPair;
type Bytes = ArrayBufferLike | ArrayBufferView;

const CIPHER = "aes-256-gcm";
const TAG_BYTES = 16;
const KEY_BYTES = 32;
/** PEM of a SubjectPublicKeyInfo with an X25519 key (RFC 8410 §4), around its bytes in base64. */
const PEM_BEGINS = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEA";
const PEM_ENDS = "\n-----END PUBLIC KEY-----\n";
/** The empty pre-shared key's id, and the info strings in use. */
const MAX_EXTRACTED = 8;

/**
 * RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
 *
 * The protocol is @hpke/core's. Its primitives run on the calling thread here, through node:crypto and @noble/hashes: the library's
 * own calls to WebCrypto each go to a thread and back, which costs several times what the work of a short message does.
 */
export function createHpkeSuite(): CipherSuite {
  return new CipherSuite({ kem: new X25519Kem(), kdf: new SyncHkdf(), aead: new SyncGcm() });
}

/** An X25519 private key with its public one, as the suite of {@link createHpkeSuite} takes them. */
export function keyPairOf(privateKey: KeyObject): CryptoKeyPair {
  return { privateKey: opaque(privateKey), publicKey: opaque(createPublicKey(privateKey)) };
}

/** HKDF with HMAC-SHA256 (RFC 5869). */
class SyncHkdf extends HkdfSha256 {
  /** What labeledExtract made, by label and input: in base mode they are public and the same in every message. */
  readonly #extracted = new Map<string, ArrayBuffer>();
  readonly #scheduled = new WeakMap<Bytes, { readonly ikm: Bytes; readonly key: Uint8Array }>();

  override async labeledExtract(salt: Bytes, label: Uint8Array, ikm: Uint8Array): Promise<ArrayBuffer> {
    const name = [viewOf(salt), label, ikm].map((part) => Buffer.from(part).toString("hex")).join();
    const known = this.#extracted.get(name);
    if (known !== undefined) return known;
    const made = await super.labeledExtract(salt, label, ikm);
    if (this.#extracted.size < MAX_EXTRACTED) this.#extracted.set(name, made);
    return made;
  }

  override async extract(salt: Bytes, ikm: Bytes): Promise<ArrayBuffer> {
    return bufferOf(extract(sha256, viewOf(ikm), viewOf(salt)));
  }

  override async expand(prk: Bytes, info: Bytes, length: number): Promise<ArrayBuffer> {
    return bufferOf(expand(sha256, viewOf(prk), viewOf(info), length));
  }

  override async extractAndExpand(
    salt: Bytes,
    ikm: Bytes,
    info: Bytes,
    length: number,
  ): Promise<ArrayBuffer> {
    return bufferOf(expand(sha256, this.#pseudorandomKey(salt, ikm), viewOf(info), length));
  }

  /** The key schedule expands one pseudorandom key three times; it is forgotten with the shared secret that it comes from. */
  #pseudorandomKey(salt: Bytes, ikm: Bytes): Uint8Array {
    const known = salt.byteLength === 0 ? undefined : this.#scheduled.get(salt);
    if (known?.ikm === ikm) return known.key;
    const key = extract(sha256, viewOf(ikm), viewOf(salt));
    if (salt.byteLength > 0) this.#scheduled.set(salt, { ikm, key });
    return key;
  }
}

class SyncGcm extends Aes256Gcm {
  override createEncryptionContext(key: Bytes): AeadEncryptionContext {
    // A raw key would be taken for a key object first, which costs an exception each time.
    const secret = createSecretKey(viewOf(key));
    return {
      async seal(iv, data, aad) {
        const cipher = createCipheriv(CIPHER, secret, viewOf(iv)).setAAD(viewOf(aad));
        const head = cipher.update(viewOf(data));
        return bufferOf(Buffer.concat([head, cipher.final(), cipher.getAuthTag()]));
      },
      async open(iv, data, aad) {
        const sealed = viewOf(data);
        const end = sealed.length - TAG_BYTES;
        if (end < 0) throw new RangeError("a ciphertext is at least as long as its tag");
        const decipher = createDecipheriv(CIPHER, secret, viewOf(iv), { authTagLength: TAG_BYTES })
          .setAAD(viewOf(aad))
          .setAuthTag(sealed.subarray(end));
        const head = decipher.update(sealed.subarray(0, end));
        return bufferOf(Buffer.concat([head, decipher.final()]));
      },
    };
  }
}

class X25519Kem extends Dhkem {
  override readonly id = KemId.DhkemX25519HkdfSha256;
  override readonly secretSize = KEY_BYTES;
  override readonly encSize = KEY_BYTES;
  override readonly publicKeySize = KEY_BYTES;
  override readonly privateKeySize = KEY_BYTES;

  constructor() {
    super(KemId.DhkemX25519HkdfSha256, new X25519(), new SyncHkdf());
  }
}

/** What sealing and opening need of X25519 (RFC 7748). Keys are made and kept elsewhere: private ones never leave OpenSSL. */
class X25519 implements DhkemPrimitives {
  async generateKeyPair(): Promise<CryptoKeyPair> {
    return keyPairOf(generateKeyPairSync("x25519").privateKey);
  }

  async serializePublicKey(key: CryptoKey): Promise<ArrayBuffer> {
    const { x } = keyObject(key).export({ format: "jwk" });
    return bufferOf(Buffer.from(x ?? "", "base64url"));
  }

  async deserializePublicKey(key: Bytes): Promise<CryptoKey> {
    const { byteLength } = key;
    if (byteLength !== KEY_BYTES) throw new RangeError(`an X25519 public key has ${KEY_BYTES} bytes`);
    // As text: node:crypto tries anything else for a key object first, which costs four exceptions.
    const base64 = Buffer.from(viewOf(key)).toString("base64");
    return opaque(createPublicKey(`${PEM_BEGINS}${base64}${PEM_ENDS}`));
  }

  async derivePublicKey(key: CryptoKey): Promise<CryptoKey> {
    return opaque(createPublicKey(keyObject(key)));
  }

  /** OpenSSL refuses an all-zero secret, as RFC 9180 §7.1.4 demands. */
  async dh(privateKey: CryptoKey, publicKey: CryptoKey): Promise<ArrayBuffer> {
    return bufferOf(diffieHellman({ privateKey: keyObject(privateKey), publicKey: keyObject(publicKey) }));
  }

  serializePrivateKey(): Promise<ArrayBuffer> {
    return unneeded();
  }

  deserializePrivateKey(): Promise<CryptoKey> {
    return unneeded();
  }

  importKey(): Promise<CryptoKey> {
    return unneeded();
  }

  deriveKeyPair(): Promise<CryptoKeyPair> {
    return unneeded();
  }
}

async function unneeded(): Promise<never> {
  throw new TypeError("sealing keys are not made, read or written through the HPKE library");
}

/** The library hands keys from one of these functions to the next without looking into them, so they stay KeyObjects. */
function opaque(key: KeyObject): CryptoKey {
  return key as unknown as CryptoKey;
}

function keyObject(key: CryptoKey): KeyObject {
  const inside: unknown = key;
  if (!(inside instanceof KeyObject)) throw new TypeError("the key was not made for this suite");
  return inside;
}

function viewOf(bytes: Bytes): Uint8Array<ArrayBufferLike> {
  return ArrayBuffer.isView(bytes)
    ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new Uint8Array(bytes);
}

/** The library reads whole buffers, so small ones must not lie in Node's shared pool. */
function bufferOf(bytes: Uint8Array): ArrayBuffer {
  const copy = new ArrayBuffer(bytes.byteLength);
  new Uint8Array(copy).set(bytes);
  return copy;
}
