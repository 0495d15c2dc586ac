import assert from "node:assert/strict";
import { test } from "node:test";
import { CairnError } from "@cairn/core";
import { RestFixture } from "./rest-fixture.ts";

test("a transaction that is to be refreshed is looked for at the chain before it is shown, and a failing chain source is told", async () => {
  const rest = await RestFixture.start();
  try {
    rest.node.fund(60_000n);
    const { txid, intent } = await rest.node.submit(rest.spendRequest(), null);
    await rest.call("GET", `/api/v1/transactions/${txid}`);
    assert.deepEqual(rest.node.lookedFor, []);
    const fresh = await rest.call("POST", `/api/v1/transactions/${txid}/refresh`, { role: "viewer" });
    assert.equal(fresh.status, 200, fresh.text);
    assert.equal(fresh.json.intent, intent);
    assert.deepEqual(rest.node.lookedFor, [intent]);
    rest.node.refusal = new CairnError("chain-unavailable", "no chain source answers in this test; mend it");
    const failed = await rest.call("POST", `/api/v1/transactions/${txid}/refresh`);
    assert.deepEqual([failed.status, failed.json.code], [503, "chain-unavailable"]);
    const unknown = await rest.call("POST", `/api/v1/transactions/${"0".repeat(64)}/refresh`);
    assert.equal(unknown.json.code, "not-found");
  } finally {
    await rest.close();
  }
});
