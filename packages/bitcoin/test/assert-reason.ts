import assert from "node:assert/strict";
import { type BitcoinErrorReason, bitcoinErrorReason } from "../src/index.ts";

/** Asserts that `run` fails with a typed error of `reason`. */
export function throwsReason(run: () => unknown, reason: BitcoinErrorReason): void {
  assert.throws(run, (error: unknown) => {
    assert.equal(bitcoinErrorReason(error), reason, String(error));
    return true;
  });
}

/** Asserts that `promise` fails with a typed error of `reason`. */
export async function rejectsReason(promise: Promise<unknown>, reason: BitcoinErrorReason): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.equal(bitcoinErrorReason(error), reason, String(error));
    return true;
  });
}
