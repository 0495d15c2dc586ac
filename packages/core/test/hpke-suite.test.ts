import assert from "node:assert/strict";
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import { shake128 } from "@noble/hashes/sha3.js";
import { createHpkeSuite, keyPairOf } from "../src/hpke-suite.ts";
import { fromHex, toHex } from "../src/index.ts";

/**
 * RFC 9180's vector for DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM in base mode, with the SHAKE-128 hash over the ciphertexts
 * of 1,000 messages that are drawn from SHAKE-128 too, as the Go standard library's tests have it (crypto/hpke, BSD-3-Clause).
 */
const vector: {
  readonly info: string;
  readonly ikmE: string;
  readonly skRm: string;
  readonly pkRm: string;
  readonly enc: string;
  readonly encryptions_accumulated: string;
} = JSON.parse(readFileSync(new URL("vectors/rfc9180.json", import.meta.url), "utf8"));

/** A length byte, then so many bytes. */
function draw(source: ReturnType<typeof shake128.create>): Uint8Array {
  return source.xof(source.xof(1)[0] ?? 0);
}

/** The library with its own primitives, over WebCrypto. */
const library = new CipherSuite({
  kem: new DhkemX25519HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Aes256Gcm(),
});
const suite = createHpkeSuite();
const info = fromHex("00112233");

function privateKeyOf(raw: string): KeyObject {
  // RFC 8410 §7.
  const der = Buffer.from(`302e020100300506032b656e04220420${raw}`, "hex");
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
}

function webKeys(key: KeyObject) {
  return {
    privateKey: key.toCryptoKey("X25519", false, ["deriveBits"]),
    publicKey: createPublicKey(key).toCryptoKey("X25519", true, []),
  };
}

function payloads(): Uint8Array[] {
  return [0, 1, 1024, 70_000].map((length) => new Uint8Array(length).fill(length % 251));
}

test("RFC 9180's vector is sealed to the byte, and opens", async () => {
  const recipientKey = keyPairOf(privateKeyOf(vector.skRm));
  assert.equal(
    toHex(new Uint8Array(await suite.kem.serializePublicKey(recipientKey.publicKey))),
    vector.pkRm,
  );
  const info = fromHex(vector.info);
  const sender = await suite.createSenderContext({
    recipientPublicKey: recipientKey.publicKey,
    info,
    // The suite derives no keys; the library does.
    ekm: keyPairOf(KeyObject.from((await library.kem.deriveKeyPair(fromHex(vector.ikmE))).privateKey)),
  });
  assert.equal(toHex(new Uint8Array(sender.enc)), vector.enc);
  const recipient = await suite.createRecipientContext({ recipientKey, enc: fromHex(vector.enc), info });
  const source = shake128.create();
  const sealings = createHash("shake128", { outputLength: 16 });
  for (let count = 0; count < 1000; count += 1) {
    const aad = draw(source);
    const plaintext = draw(source);
    const sealed = await sender.seal(plaintext, aad);
    sealings.update(new Uint8Array(sealed));
    assert.deepEqual(new Uint8Array(await recipient.open(sealed, aad)), plaintext);
  }
  assert.equal(sealings.digest("hex"), vector.encryptions_accumulated);
});

test("what it seals, the library opens with its own primitives, and the other way", async () => {
  const { privateKey } = generateKeyPairSync("x25519");
  const [ours, theirs] = [keyPairOf(privateKey), webKeys(privateKey)];
  for (const payload of payloads()) {
    const aad = fromHex("aabb");
    const ourSender = await suite.createSenderContext({ recipientPublicKey: ours.publicKey, info });
    const sealed = await ourSender.seal(payload, aad);
    const theirRecipient = await library.createRecipientContext({
      recipientKey: theirs,
      enc: ourSender.enc,
      info,
    });
    assert.deepEqual(new Uint8Array(await theirRecipient.open(sealed, aad)), payload);

    const theirSender = await library.createSenderContext({ recipientPublicKey: theirs.publicKey, info });
    const back = await theirSender.seal(payload, aad);
    const ourRecipient = await suite.createRecipientContext({
      recipientKey: ours,
      enc: theirSender.enc,
      info,
    });
    assert.deepEqual(new Uint8Array(await ourRecipient.open(back, aad)), payload);
  }
});

test("an altered or short ciphertext, other associated data and another key do not open", async () => {
  const mine = keyPairOf(generateKeyPairSync("x25519").privateKey);
  const other = keyPairOf(generateKeyPairSync("x25519").privateKey);
  const aad = fromHex("aa");
  const sender = await suite.createSenderContext({ recipientPublicKey: mine.publicKey, info });
  const sealed = new Uint8Array(await sender.seal(fromHex("0102030405"), aad));
  const open = async (ciphertext: Uint8Array, data = aad, recipientKey = mine, said = info) => {
    const recipient = await suite.createRecipientContext({ recipientKey, enc: sender.enc, info: said });
    return recipient.open(ciphertext, data);
  };
  assert.deepEqual(new Uint8Array(await open(sealed)), new Uint8Array([1, 2, 3, 4, 5]));
  for (let at = 0; at < sealed.length; at += 1) {
    const altered = Uint8Array.from(sealed);
    altered[at] = (altered[at] ?? 0) ^ 1;
    await assert.rejects(open(altered));
    await assert.rejects(open(sealed.subarray(0, at)));
  }
  await assert.rejects(open(sealed, fromHex("ab")));
  await assert.rejects(open(sealed, aad, other));
  await assert.rejects(open(sealed, aad, mine, fromHex("01")));
});

test("an encapsulated key of small order is refused", async () => {
  // RFC 7748 §6.1: the shared secret would be all zeros, whatever the private key is.
  const recipientKey = keyPairOf(generateKeyPairSync("x25519").privateKey);
  for (const point of ["00".repeat(32), `01${"00".repeat(31)}`])
    await assert.rejects(suite.createRecipientContext({ recipientKey, enc: fromHex(point), info }));
});
