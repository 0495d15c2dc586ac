import assert from "node:assert/strict";
import { test } from "node:test";
import type { IntentHash } from "@cairn/core";
import { ManualClock, namedSigner, openPolicy, testManifest } from "@cairn/core/test-support";
import { ROLLING_WINDOW_MS } from "@cairn/policy";
import { SpendJudge, type SpendJudgeModules } from "../src/spend-judge.ts";

test("a policy that came into force after a spend was checked decides only once what it looks back on is read", () => {
  const month = 30 * ROLLING_WINDOW_MS;
  const manifest = testManifest(
    [1, 2, 3].map((index) => ({ identity: namedSigner(`node ${index}`).publicKey })),
  );
  const live = {
    of: () => ({
      intent: { request: { signature: null, body: { outputs: [], maxFeeSats: 1n } }, anchor: null },
      row: { lineage: "lineage", request: "request" },
    }),
  };
  const judge = (coveredMs: number) => {
    const book = {
      manifest: { ...manifest, unsignedRequests: true },
      policy: openPolicy({ rateLimit: { count: 3, windowMs: month } }),
      under: () => ({ manifest }),
    };
    const claims = {
      isPaid: () => false,
      covers: (windowMs: number) => windowMs <= coveredMs,
      history: () => [],
      paid: { since: () => ({ count: 0, sats: 0n }), to: () => 0n },
      weigh: () => ({ kind: "reserved" }),
    };
    const approvals = { given: () => [] };
    const modules = { live, claims, approvals, clock: new ManualClock() };
    return new SpendJudge({ me: 1, book } as never, modules as unknown as SpendJudgeModules);
  };
  const check = { kind: "passed", checked: { feeSats: 1n, vsize: 100 } } as never;
  const intent = "0".repeat(64) as IntentHash;
  assert.deepEqual(judge(ROLLING_WINDOW_MS).verdict(intent, check), {
    kind: "defer",
    code: "wrong-policy",
    blocking: [],
  });
  assert.deepEqual(judge(month).verdict(intent, check), { kind: "approve" });
});
