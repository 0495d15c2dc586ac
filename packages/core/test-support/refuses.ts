import assert from "node:assert/strict";
import { type ErrorCode, isCairnError } from "../src/index.ts";

/** Asserts that `act` throws a CairnError of `code`. */
export function refuses(code: ErrorCode, act: () => unknown, message: string = code): void {
  assert.throws(act, (error) => isCairnError(error, code), message);
}
