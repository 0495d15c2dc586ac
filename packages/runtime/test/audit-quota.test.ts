import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "@cairn/core/test-support";
import { AuditQuota } from "../src/audit-quota.ts";

test("a peer's refusals fill the log no faster than a bound, what was left out is told, and nothing else is held back", () => {
  const clock = new ManualClock();
  const quota = new AuditQuota(clock);
  const refusal = (from: number) => ({
    kind: "message-refused",
    subject: "",
    data: { from, code: "malformed" },
  });
  const admitted = (from: number, times: number) =>
    Array.from({ length: times }, () => quota.admit(refusal(from))).filter((fact) => fact !== null);
  const most = admitted(2, 1_000).length;
  assert.ok(most > 10 && most < 500);
  assert.equal(admitted(3, 5).length, 5);
  const own = { kind: "vote-cast", subject: "", data: {} };
  assert.equal(quota.admit(own), own);
  clock.advance(60_000);
  const [next, after] = admitted(2, 2);
  assert.equal(next?.data.unrecordedBefore, 1_000 - most);
  assert.deepEqual(after, refusal(2));
});
