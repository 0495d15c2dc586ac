import { createHash } from "node:crypto";
import {
  CairnError,
  checkEnvelope,
  type Ed25519PublicKey,
  type Envelope,
  type EnvelopeBox,
  encodeCanonical,
  fromHex,
  type SignatureHex,
} from "@cairn/core";

/**
 * A TEST TWIN of the sealed envelope: same header, same checks, and what should be sealed in the clear, beside the key it is meant for. HPKE
 * runs on threads of its own, whose ends come in no order that a seed could decide. Its "signature" is a hash that anybody could make:
 * it shows an altered envelope, at a fraction of the time that a simulation would otherwise spend on nothing else.
 */
export const clearEnvelopeBox: EnvelopeBox = {
  async seal(header, payload, recipient, signer) {
    const body = { header, enc: new Uint8Array(fromHex(recipient)), ciphertext: new Uint8Array(payload) };
    return encodeCanonical({ ...body, signature: mark(body, signer.publicKey) });
  },
  async open(envelope, expected, key) {
    checkEnvelope(envelope, expected, (given, sender) => mark(given, sender) === given.signature);
    if (Buffer.compare(envelope.enc, fromHex(key.publicKey)) !== 0) {
      throw new CairnError("malformed", "the envelope does not open under this node's sealing key", {
        from: envelope.header.from,
      });
    }
    return new Uint8Array(envelope.ciphertext);
  },
};

/** 64 bytes that depend on all of an envelope and on whose it is. */
function mark(
  { header, enc, ciphertext }: Pick<Envelope, "header" | "enc" | "ciphertext">,
  sender: Ed25519PublicKey,
): SignatureHex {
  const hash = createHash("sha512").update(sender, "utf8");
  hash.update(JSON.stringify(header), "utf8").update(enc).update(ciphertext);
  return hash.digest("hex") as SignatureHex;
}
