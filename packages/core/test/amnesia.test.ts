import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AMNESIA_KEY,
  amnesiaWrite,
  decodeAmnesia,
  encodeCanonical,
  forgottenUntil,
  MAX_REQUEST_LIFETIME_MS,
  toHex,
  type UnixMs,
} from "../src/index.ts";
import { refuses } from "../test-support/index.ts";

const RESTORED_AT = 1_700_000_000_000 as UnixMs;

test("a restore's mark is read back, and its bytes are fixed", () => {
  const write = amnesiaWrite(RESTORED_AT);
  assert.equal(write.key, AMNESIA_KEY);
  assert.deepEqual(decodeAmnesia(write.value), { version: 1, restoredAt: RESTORED_AT });
  // {"version": 1, "restoredAt": 1700000000000}: the shorter key first.
  assert.equal(
    toHex(write.value),
    `a2${`67${Buffer.from("version").toString("hex")}`}01${`6a${Buffer.from("restoredAt").toString("hex")}`}1b0000018bcfe56800`,
  );
});

test("a database without the mark was never restored", () => {
  assert.equal(decodeAmnesia(null), null);
});

test("a mark of another version, without a time or with anything else is refused", () => {
  for (const wrong of [
    { version: 2, restoredAt: RESTORED_AT },
    { version: 1 },
    { version: 1, restoredAt: -1 },
    { version: 1, restoredAt: RESTORED_AT, synced: true },
  ]) {
    refuses("malformed", () => decodeAmnesia(encodeCanonical(wrong)));
  }
});

test("what may have been forgotten expires by the restore plus the longest life of a request", () => {
  assert.equal(
    forgottenUntil({ version: 1, restoredAt: RESTORED_AT }),
    RESTORED_AT + MAX_REQUEST_LIFETIME_MS,
  );
});
