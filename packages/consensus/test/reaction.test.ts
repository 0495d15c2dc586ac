import assert from "node:assert/strict";
import { test } from "node:test";
import { type ErrorCode, errorCodes } from "@cairn/core";
import { evidenceSchema, reactionTo, verdictKind, violationTypes } from "../src/index.ts";

const codes = Object.keys(errorCodes) as ErrorCode[];

test("every error code has one reaction, and none of them bans", () => {
  for (const code of codes) {
    const reaction = reactionTo({ kind: "error", code });
    assert.notEqual(reaction.action, "ban", code);
    assert.equal(reaction.lasts !== null, reaction.action === "exclude", code);
  }
});

test("framing: only violations with evidence for third parties ban, and only when it is proven", () => {
  const provable = new Set<string>(evidenceSchema.options.map((option) => option.shape.type.value));
  // A node that was set back may be its operator's mistake: it resyncs (architecture §6).
  provable.delete("Rollback");
  for (const type of violationTypes) {
    assert.equal(
      reactionTo({ kind: "violation", type, proven: true }).action === "ban",
      provable.has(type),
      type,
    );
    assert.notEqual(reactionTo({ kind: "violation", type, proven: false }).action, "ban", type);
  }
});

test("timeouts exclude from one attempt and never ban", () => {
  for (const proven of [true, false]) {
    const reaction = reactionTo({ kind: "violation", type: "Timeout", proven });
    assert.deepEqual([reaction.action, reaction.lasts, reaction.alert], ["exclude", "attempt", false]);
  }
});

test("conflict and lag defer; static faults and final policy decisions reject", () => {
  const deferring: ErrorCode[] = [
    "coin-reserved",
    "lineage-open",
    "coin-spent",
    "chain-unavailable",
    "wrong-manifest",
    "wrong-policy",
    "clock-skew",
    "storage-locked",
  ];
  for (const code of deferring) assert.equal(verdictKind(code), "defer", code);
  const rejecting: ErrorCode[] = [
    "signature-invalid",
    "psbt-invalid",
    "policy-denied",
    "limit-exceeded",
    "expired",
  ];
  for (const code of rejecting) assert.equal(verdictKind(code), "reject", code);
});
