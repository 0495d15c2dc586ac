import assert from "node:assert/strict";
import { test } from "node:test";
import { transactionStates } from "@cairn/core";
import { policyRules } from "@cairn/policy";
import { explainState } from "../src/explain-state.ts";

test("every state but `confirmed` is explained in whole sentences", () => {
  for (const state of transactionStates) {
    const words = explainState({ state, reason: null, certificate: null });
    if (state === "confirmed") assert.equal(words, null);
    else assert.match(words ?? "", /^[A-Z].*\.$/);
  }
});

test("every rule of policy is explained as a reason; a reason without words is still named", () => {
  const state = explainState({ state: "rejected", reason: null, certificate: null }) ?? "";
  for (const reason of [...policyRules, ...policyRules.map((rule) => `policy-${rule}`)]) {
    const words = explainState({ state: "rejected", reason, certificate: null }) ?? "";
    assert.ok(words.startsWith(state) && words.length > state.length, reason);
    assert.ok(!words.includes("The nodes give"), reason);
  }
  assert.match(explainState({ state: "rejected", reason: "psbt-odd", certificate: null }) ?? "", /psbt-odd/);
});

test("a spend that waits for approvals says how many of how many are there", () => {
  const row = { state: "pending", reason: "policy-approvals", certificate: null } as const;
  const words = explainState(row, { needed: 2, given: ["ann"] }) ?? "";
  assert.match(words, /approvals by people: 1 of 2 are there/);
  assert.doesNotMatch(explainState(row, { needed: 1, given: ["ann"] }) ?? "", /of 1/);
  const ended = explainState({ ...row, state: "expired" }, { needed: 2, given: [] }) ?? "";
  assert.match(ended, /time ran out.*Policy asks for approvals by people/);
});

test("an expired spend that has a certificate says that it may still confirm", () => {
  const row = { state: "expired", reason: "expired" } as const;
  assert.match(explainState({ ...row, certificate: new Uint8Array(1) }) ?? "", /may still confirm/);
  assert.doesNotMatch(explainState({ ...row, certificate: null }) ?? "", /may still confirm/);
});
