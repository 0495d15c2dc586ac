import assert from "node:assert/strict";
import { test } from "node:test";
import { dataOutputScript, readDataOutput } from "../src/index.ts";

const bytes = (...values: number[]) => Uint8Array.from(values);

test("a data output is OP_RETURN and one push, and reads back", () => {
  assert.deepEqual(dataOutputScript(bytes(1, 2)), bytes(0x6a, 2, 1, 2));
  for (const length of [1, 38, 75]) {
    const data = new Uint8Array(length).fill(7);
    assert.deepEqual(readDataOutput(dataOutputScript(data)), data);
  }
});

test("data of no bytes, or more than one plain push, are refused", () => {
  for (const length of [0, 76]) assert.throws(() => dataOutputScript(new Uint8Array(length)), RangeError);
});

test("other scripts carry no data: other opcodes, other pushes, more than one, cut short", () => {
  for (const script of [
    bytes(),
    bytes(0x6a),
    bytes(0x6a, 0),
    bytes(0x51, 1, 9),
    bytes(0x6a, 2, 9),
    bytes(0x6a, 1, 9, 9),
    bytes(0x6a, 0x4c, 1, 9),
    bytes(0x6a, 76, ...new Array(76).fill(9)),
  ]) {
    assert.equal(readDataOutput(script), null, Buffer.from(script).toString("hex"));
  }
});
