import assert from "node:assert/strict";
import { test } from "node:test";
import { concatBytes, isCairnError } from "@cairn/core";
import fc from "fast-check";
import { FrameDecoder } from "../src/frame-decoder.ts";

function framed(body: Uint8Array): Uint8Array {
  const header = new Uint8Array(4);
  new DataView(header.buffer).setUint32(0, body.length);
  return concatBytes(header, body);
}

test("frames come out whole and in order however the stream is cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 97 }), { minLength: 1, maxLength: 50 }),
      (bodies, cuts) => {
        const stream = concatBytes(...bodies.map(framed));
        const decoder = new FrameDecoder(300);
        const out: Uint8Array[] = [];
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const length = cuts[turn % cuts.length] ?? 1;
          out.push(...decoder.push(stream.subarray(at, at + length)));
          at += length;
        }
        assert.deepEqual(out, bodies);
      },
    ),
  );
});

test("a frame larger than the limit is refused at its header, and the decoder stays failed", () => {
  fc.assert(
    fc.property(fc.integer({ min: 101, max: 0xffff_ffff }), (length) => {
      const decoder = new FrameDecoder(100);
      const header = new Uint8Array(4);
      new DataView(header.buffer).setUint32(0, length);
      const tooLarge = (error: unknown) => isCairnError(error, "too-large");
      assert.throws(() => [...decoder.push(concatBytes(framed(Uint8Array.of(1)), header))], tooLarge);
      assert.throws(() => [...decoder.push(framed(Uint8Array.of(2)))], tooLarge);
    }),
  );
});

test("frames do not share memory with the chunks that brought them", () => {
  const chunk = framed(Uint8Array.of(7, 7));
  const [frame] = new FrameDecoder(10).push(chunk);
  chunk.fill(0);
  assert.deepEqual(frame, Uint8Array.of(7, 7));
});

test("random bytes never make it throw anything but its own refusal", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (chunks) => {
      const decoder = new FrameDecoder(1000);
      try {
        for (const chunk of chunks) for (const frame of decoder.push(chunk)) assert.ok(frame.length <= 1000);
      } catch (error) {
        assert.ok(isCairnError(error, "too-large"));
      }
    }),
  );
});
