import assert from "node:assert/strict";
import { test } from "node:test";
import type { TransactionDetail } from "@cairn/client";
import { CairnError, type SignedSpendRequest, spendRequestSchema } from "@cairn/core";
import { decodeExample, readProtocolExamples } from "@cairn/core/test-support";
import { createBench } from "../bench.ts";
import { detailOf } from "../transaction-views.ts";

const TXID = "7".repeat(64);
const request = decodeExample(readProtocolExamples(), "spend-request", spendRequestSchema);
const signed: SignedSpendRequest = {
  body: request,
  signature: "ab".repeat(64) as SignedSpendRequest["signature"],
};
const detailView = (change: Partial<TransactionDetail>) =>
  detailOf(signed, { txid: TXID, rawTx: null }, change);

test("tx status --refresh has the node look at the chain, and without it the node tells what it knows", async () => {
  const bench = await createBench();
  bench.node.answers.getTransaction = () => detailView({ state: "broadcasting" });
  bench.node.answers.refreshTransaction = () => detailView({ state: "confirmed", confirmations: 1 });
  const known = await bench.cairn("tx", "status", TXID, "--json");
  assert.equal(JSON.parse(known.stdout).state, "broadcasting", known.stderr);
  assert.equal(bench.node.called("refreshTransaction").length, 0);
  const fresh = await bench.cairn("tx", "status", TXID, "--refresh", "--json");
  assert.equal(JSON.parse(fresh.stdout).state, "confirmed", fresh.stderr);
});

test("who waits for a transaction that was published has the node look, and goes on where it can't", async () => {
  const bench = await createBench();
  let looks = 0;
  bench.node.answers.getTransaction = () => detailView({ state: "broadcasting" });
  bench.node.answers.refreshTransaction = () => {
    looks += 1;
    if (looks < 3) throw new CairnError("chain-unavailable", "no chain source answers in this test; mend it");
    return detailView({ state: "confirmed", confirmations: 1 });
  };
  const waited = await bench.cairn("tx", "status", TXID, "--watch", "--json");
  assert.equal(waited.exit, 0, waited.stderr);
  assert.equal(JSON.parse(waited.stdout).state, "confirmed");
  assert.equal(looks, 3);
});
