import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type ClusterId,
  decodeEnvelope,
  Ed25519Signer,
  type EnvelopeHeader,
  encodeCanonical,
  isCairnError,
  type NodeIndex,
  openEnvelope,
  SealingKey,
  sealEnvelope,
  type UnixMs,
} from "../src/index.ts";

const cluster = "11".repeat(32) as ClusterId;
const sender = Ed25519Signer.generate();
const recipient = SealingKey.generate();
const header: EnvelopeHeader = {
  version: 1,
  cluster,
  epoch: 0,
  session: null,
  round: 0,
  from: 1 as NodeIndex,
  to: 2 as NodeIndex,
  seq: 7,
  sentAt: 1_000_000 as UnixMs,
  kind: "vote",
  trace: null,
};
const expected = {
  cluster,
  me: 2 as NodeIndex,
  from: 1 as NodeIndex,
  senderKey: sender.publicKey,
  now: 1_000_500,
  clockSkewMs: 30_000,
};

test("an envelope opens for its recipient alone and returns the payload", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 4096 }), async (payload) => {
      const frame = await sealEnvelope(header, payload, recipient.publicKey, sender);
      assert.deepEqual(await openEnvelope(decodeEnvelope(frame), expected, recipient), payload);
      await assert.rejects(openEnvelope(decodeEnvelope(frame), expected, SealingKey.generate()), (error) =>
        isCairnError(error, "malformed"),
      );
    }),
    { numRuns: 20 },
  );
});

test("each altered header field is refused, even when the sender's signature is made anew by a thief", async () => {
  const frame = decodeEnvelope(await sealEnvelope(header, Buffer.from("x"), recipient.publicKey, sender));
  const alterations: Partial<EnvelopeHeader>[] = [
    { epoch: 1 },
    { seq: 8 },
    { kind: "void" },
    { round: 3 },
    { session: "22".repeat(32) as never },
    { trace: "t" },
  ];
  for (const alteration of alterations) {
    const altered = { ...frame, header: { ...header, ...alteration } };
    await assert.rejects(openEnvelope(altered, expected, recipient), (e) =>
      isCairnError(e, "signature-invalid"),
    );
    const { signature: _, ...body } = altered;
    const resigned = { ...body, signature: sender.sign("cairn/envelope/v1", body) };
    await assert.rejects(openEnvelope(resigned, expected, recipient), (e) => isCairnError(e, "malformed"));
  }
});

test("wrong cluster, sender, recipient and clock each have their own refusal", async () => {
  const frame = decodeEnvelope(await sealEnvelope(header, Buffer.from("x"), recipient.publicKey, sender));
  const cases = [
    [{ cluster: "33".repeat(32) as ClusterId }, "wrong-cluster"],
    [{ from: 3 as NodeIndex }, "not-member"],
    [{ me: 3 as NodeIndex }, "wrong-recipient"],
    [{ now: 1_000_000 + 30_001 }, "clock-skew"],
    [{ now: 1_000_000 - 30_001 }, "clock-skew"],
    [{ senderKey: Ed25519Signer.generate().publicKey }, "signature-invalid"],
  ] as const;
  for (const [change, code] of cases) {
    await assert.rejects(openEnvelope(frame, { ...expected, ...change }, recipient), (e) =>
      isCairnError(e, code),
    );
  }
});

test("bytes that are no envelope are refused with a typed error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (noise) => {
      assert.throws(() => decodeEnvelope(noise), isCairnError);
    }),
  );
  assert.throws(
    () => decodeEnvelope(encodeCanonical({ header })),
    (e) => isCairnError(e, "malformed"),
  );
});

test("keys survive their PEM form", async () => {
  const again = SealingKey.fromPem(recipient.toPem());
  assert.equal(again.publicKey, recipient.publicKey);
  assert.equal(Ed25519Signer.fromPem(sender.toPem()).publicKey, sender.publicKey);
  assert.throws(
    () => Ed25519Signer.fromPem(recipient.toPem()),
    (e) => isCairnError(e, "malformed"),
  );
});
