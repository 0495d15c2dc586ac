import assert from "node:assert/strict";
import { test } from "node:test";
import { isCairnError } from "@cairn/core";
import fc from "fast-check";
import { bitcoinErrorReason, decodeAddress } from "../src/index.ts";
import { strangerKey } from "./test-wallet.ts";

const charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

function positionOf(text: string): unknown {
  try {
    decodeAddress(text, "regtest");
  } catch (error) {
    assert.equal(bitcoinErrorReason(error), "address-bad-checksum", String(error));
    assert.ok(isCairnError(error));
    return error.data.position;
  }
  return assert.fail(`${text} was taken for an address`);
}

for (const kind of ["wpkh", "tr"] as const) {
  test(`${kind}: one mistyped character, whichever and wherever, is pointed at`, () => {
    const { address } = strangerKey(kind, 4);
    const start = address.lastIndexOf("1") + 1;
    for (let at = start; at < address.length; at++) {
      for (const character of `${charset}bio`) {
        if (character === address[at]) continue;
        const text = address.slice(0, at) + character + address.slice(at + 1);
        assert.equal(positionOf(text), at + 1, text);
        assert.equal(positionOf(text.toUpperCase()), at + 1);
      }
    }
  });
}

test("two mistyped characters, or one too few, are an error without the claim of a place that is right as it is", () => {
  const { address } = strangerKey("tr", 5);
  const start = address.lastIndexOf("1") + 1;
  const place = fc.integer({ min: start, max: address.length - 1 });
  fc.assert(
    fc.property(place, place, fc.nat(31), fc.nat(31), (one, other, a, b) => {
      fc.pre(one !== other && charset[a] !== address[one] && charset[b] !== address[other]);
      const spoilt = [...address];
      spoilt[one] = charset[a] ?? "";
      spoilt[other] = charset[b] ?? "";
      // The code has distance 5: two errors are never one error of another address.
      assert.equal(positionOf(spoilt.join("")), undefined);
    }),
    { numRuns: 300 },
  );
  assert.equal(positionOf(address.slice(0, -1)), undefined);
});
