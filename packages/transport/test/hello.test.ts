import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ClusterId,
  Ed25519Signer,
  type HashHex,
  isCairnError,
  type NodeIndex,
  type Nonce,
} from "@cairn/core";
import fc from "fast-check";
import {
  commonVersion,
  decodeRefusal,
  encodeHello,
  encodeRefusal,
  type Hello,
  openHello,
} from "../src/hello.ts";

const signer = Ed25519Signer.generate();
const hello: Hello = {
  version: 1,
  cluster: "11".repeat(32) as ClusterId,
  from: 1 as NodeIndex,
  to: 2 as NodeIndex,
  role: "dialer",
  boot: "22".repeat(32) as Nonce,
  epoch: 3,
  protocolVersions: [1, 2],
  binding: "33".repeat(32) as HashHex,
};
const expected = {
  cluster: hello.cluster,
  from: hello.from,
  me: hello.to,
  role: hello.role,
  binding: hello.binding,
  senderKey: signer.publicKey,
};

test("a HELLO is read back as it was said", () => {
  assert.deepEqual(openHello(encodeHello(hello, signer), expected), hello);
});

test("a HELLO for another cluster, node, role, connection or by another key is refused by name", () => {
  const cases = [
    [{ cluster: "12".repeat(32) as ClusterId }, "wrong-cluster"],
    [{ from: 3 as NodeIndex }, "not-member"],
    [{ me: 3 as NodeIndex }, "wrong-recipient"],
    [{ role: "listener" as const }, "handshake-failed"],
    [{ binding: "34".repeat(32) }, "handshake-failed"],
    [{ senderKey: Ed25519Signer.generate().publicKey }, "signature-invalid"],
  ] as const;
  for (const [change, code] of cases) {
    assert.throws(
      () => openHello(encodeHello(hello, signer), { ...expected, ...change }),
      (error) => isCairnError(error, code),
    );
  }
});

test("random and altered bytes are refused with a typed error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (noise) => {
      assert.throws(() => openHello(noise, expected), isCairnError);
      assert.throws(() => decodeRefusal(noise), isCairnError);
    }),
  );
  const encoded = encodeHello(hello, signer);
  fc.assert(
    fc.property(fc.nat(encoded.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const altered = new Uint8Array(encoded);
      altered[at] = (altered[at] ?? 0) ^ change;
      assert.throws(() => openHello(altered, expected), isCairnError);
    }),
  );
});

test("the highest common version is chosen, and none is a clear refusal", () => {
  assert.equal(commonVersion([1, 2, 3], [2, 1]), 2);
  assert.throws(
    () => commonVersion([1], [2]),
    (error) => isCairnError(error, "unsupported-version"),
  );
});

test("a refusal carries its code and nothing else", () => {
  assert.equal(decodeRefusal(encodeRefusal("NodeBanned")), "NodeBanned");
  assert.throws(() => decodeRefusal(encodeRefusal("no words, please")), isCairnError);
});
