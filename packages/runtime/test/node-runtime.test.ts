import assert from "node:assert/strict";
import { test } from "node:test";
import { CairnError, type Manifest } from "@cairn/core";
import { openPolicy } from "@cairn/core/test-support";
import { type Policy, policyHash } from "@cairn/policy";
import { NodeRuntime } from "../src/node-runtime.ts";
import type { RuntimeModules, RuntimeOptions } from "../src/runtime-options.ts";

const policy = openPolicy({ policyVersion: 3, delayMs: 60_000 });

const firstRead = new CairnError("storage-failed", "the store was asked");

/** Starts a node whose store answers nothing: whoever gets that far passed the checks of manifest and policy. */
function start(manifest: Partial<Manifest>, document: Policy = policy): Promise<NodeRuntime> {
  const pinned = { policy: policyHash(policy), policyVersion: 3, policyDelayMs: 60_000, ...manifest };
  const changes = () => Promise.reject(firstRead);
  return NodeRuntime.start(
    { manifest: pinned as Manifest, policy: document } as RuntimeOptions,
    { store: { changes } } as unknown as RuntimeModules,
  );
}

test("a node starts with the policy that its manifest pins", async () => {
  await assert.rejects(start({}), firstRead);
});

test("a policy whose delay differs from the manifest's is refused, with both delays named", async () => {
  for (const policyDelayMs of [0, 59_999, 60_001]) {
    await assert.rejects(start({ policyDelayMs }), {
      code: "config-invalid",
      data: { delayMs: 60_000, expected: policyDelayMs },
    });
  }
});

test("a policy document that the manifest does not pin is refused", async () => {
  await assert.rejects(start({}, { ...policy, delayMs: 0 }), { code: "config-invalid" });
  await assert.rejects(start({ policyVersion: 4 }), { code: "config-invalid" });
});
