import assert from "node:assert/strict";
import { isCairnError } from "@cairn/core";

/** Asserts that `act` is refused by the chain with `reason`, and returns the whole message. */
export function assertRejects(act: () => unknown, reason: string, rpcCode = -26): string {
  try {
    act();
  } catch (error) {
    assert.ok(isCairnError(error, "chain-rejected"), String(error));
    assert.equal(error.data.reason, reason);
    assert.equal(error.data.rpcCode, rpcCode);
    return error.message;
  }
  assert.fail(`accepted; expected ${reason}`);
}
