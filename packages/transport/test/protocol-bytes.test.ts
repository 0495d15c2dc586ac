import assert from "node:assert/strict";
import { test } from "node:test";
import { ed25519PublicKeySchema, fromHex, signatureHexSchema, toHex } from "@cairn/core";
import { readProtocolExamples } from "@cairn/core/test-support";
import { decodeRefusal, encodeHello, encodeRefusal, helloSchema, openHello } from "../src/hello.ts";
import { decodeSealedPayload, encodeSealedPayload } from "../src/wire-message.ts";

const { keys, examples } = readProtocolExamples();

test("the example HELLO opens under its sender's key", () => {
  const shown = examples.hello;
  const pair = keys["node 1"];
  assert.ok(shown && pair);
  const hello = helloSchema.parse(shown.body);
  const signer = {
    publicKey: ed25519PublicKeySchema.parse(pair.public),
    sign: () => signatureHexSchema.parse(shown.signature),
  };
  const opened = openHello(encodeHello(hello, signer), {
    cluster: hello.cluster,
    from: hello.from,
    me: hello.to,
    role: hello.role,
    binding: hello.binding,
    senderKey: signer.publicKey,
  });
  assert.deepEqual(opened, hello);
});

test("the example refusal and sealed payload survive their wire forms", () => {
  const bytesOf = (name: string) => fromHex(examples[name]?.encoded ?? "");
  assert.equal(
    toHex(encodeRefusal(decodeRefusal(bytesOf("hello-refusal")))),
    examples["hello-refusal"]?.encoded,
  );
  const payload = decodeSealedPayload(bytesOf("sealed-payload"));
  assert.equal(toHex(encodeSealedPayload(payload)), examples["sealed-payload"]?.encoded);
});
