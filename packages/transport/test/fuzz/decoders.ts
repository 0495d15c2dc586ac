import { ed25519PublicKeySchema, encodeCanonical, signatureHexSchema } from "@cairn/core";
import { type Decoder, readProtocolExamples, structureDecoder, textDecoder } from "@cairn/core/test-support";
import { FrameDecoder } from "../../src/frame-decoder.ts";
import { decodeRefusal, encodeHello, encodeRefusal, helloSchema, openHello } from "../../src/hello.ts";
import { parsePeerAddress } from "../../src/peer-address.ts";
import {
  decodePeerMessage,
  decodeSealedPayload,
  encodePeerMessage,
  encodeSealedPayload,
} from "../../src/wire-message.ts";

const { keys, examples } = readProtocolExamples();
const shown = examples.hello;
const hello = helloSchema.parse(shown?.body);
const signer = {
  publicKey: ed25519PublicKeySchema.parse(keys["node 1"]?.public),
  sign: () => signatureHexSchema.parse(shown?.signature),
};
const expected = {
  cluster: hello.cluster,
  from: hello.from,
  me: hello.to,
  role: hello.role,
  binding: hello.binding,
  senderKey: signer.publicKey,
};
const bytesOf = (name: string) => new Uint8Array(Buffer.from(examples[name]?.encoded ?? "", "hex"));
const message = encodePeerMessage({
  kind: "vote",
  session: null,
  round: 0,
  payload: Uint8Array.of(1, 2, 3),
  trace: null,
});
const framed = (...frames: readonly Uint8Array[]) =>
  new Uint8Array(
    Buffer.concat(
      frames.flatMap((frame) => [Buffer.from([0, 0, frame.length >> 8, frame.length & 255]), frame]),
    ),
  );

/** Everything in this package that reads bytes or text of strangers. */
export const decoders: readonly Decoder[] = [
  structureDecoder("hello", helloSchema),
  {
    name: "signed-hello",
    samples: [encodeHello(hello, signer)],
    decode: (input) => openHello(input, expected),
    encode: (opened) => encodeHello(opened, signer),
  },
  {
    name: "refusal",
    samples: [bytesOf("hello-refusal")],
    decode: decodeRefusal,
    encode: encodeRefusal,
  },
  {
    name: "sealed-payload",
    samples: [bytesOf("sealed-payload")],
    decode: decodeSealedPayload,
    encode: encodeSealedPayload,
  },
  {
    name: "peer-message",
    samples: [message],
    decode: decodePeerMessage,
    encode: encodeCanonical,
  },
  {
    name: "frames",
    samples: [framed(message, Uint8Array.of(), bytesOf("hello-refusal"))],
    // Cut into chunks of seven bytes; whatever whole frames come out, with what is left over, make up the stream.
    decode: (input) => {
      const decoder = new FrameDecoder(4096);
      const frames: Uint8Array[] = [];
      for (let at = 0; at < input.length; at += 7) frames.push(...decoder.push(input.subarray(at, at + 7)));
      const used = framed(...frames);
      return Buffer.concat([used, input.subarray(used.length)]);
    },
    encode: (whole) => whole,
  },
  textDecoder(
    "peer-address",
    ["tcp://127.0.0.1:9000", "tcp://[::1]:9000", "tcp://node-1.example:9000/"],
    parsePeerAddress,
  ),
];
