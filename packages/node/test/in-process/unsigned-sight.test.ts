import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ChainSource,
  decodeAddress,
  deriveKey,
  encodeUnsignedTransaction,
  parseTransaction,
} from "@cairn/bitcoin";
import type { Courier, NodeIndex, Sats, Txid } from "@cairn/core";
import { readMetadata } from "@cairn/runtime";
import { overheard } from "@cairn/runtime/test-support";
import { InProcessCluster } from "./cluster.ts";

const five = 5 as NodeIndex;

test("a chain source that shows a payment without its signatures has nobody tell others of wrong ones", async () => {
  const finals: NodeIndex[] = [];
  const cluster = await InProcessCluster.start({
    recheckMs: 60_000,
    tampering: (from) => ({
      // Node 5 signs nothing, and is not told that the others did.
      courier: (courier: Courier): Courier => ({
        ...overheard(courier, ({ kind }) => {
          if (kind === "final") finals.push(from);
        }),
        send: (to, message) => {
          const kept =
            (from === five && message.kind === "ack") || (to === five && message.kind === "finalize");
          if (!kept) courier.send(to, message);
        },
      }),
      ...(from === five && { chain: withoutSignatures }),
    }),
  });
  try {
    const record = await cluster.makeWallet("frost");
    const booked = cluster.node(1).runtime.wallets.get(record.wallet);
    const { address } = deriveKey(booked.descriptor, [0, 0]);
    cluster.chain.fund(decodeAddress(address, "regtest").script, 1_000_000n);
    cluster.chain.mine(1);
    const { body, signature } = cluster.spendRequest(record, {
      outputs: [{ address: "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", amountSats: 200_000n as Sats }],
    });
    const { intent } = await cluster.node(1).runtime.submit(body, signature);
    const { signatures } = cluster.node(five).runtime.spends;
    const row = (node: number) => cluster.node(node).runtime.spends.get(intent)?.row;
    const isUnproven = () => readMetadata(row(five)?.metadata ?? "").unproven;
    await cluster.until(
      () => row(five)?.signedTx != null,
      60_000,
      () => `the spend is at ${row(five)?.state}`,
    );
    assert.equal(isUnproven(), true);
    assert.equal(row(five)?.feeSats, row(1)?.feeSats);
    await signatures.answer(4 as NodeIndex, intent);
    assert.deepEqual(finals, []);

    await cluster.node(1).runtime.spends.signatures.answer(five, intent);
    await cluster.until(
      () => !isUnproven(),
      20_000,
      () => "node 5 takes no signatures",
    );
    assert.equal(row(five)?.signedTx, row(1)?.signedTx);
    await signatures.answer(4 as NodeIndex, intent);
    assert.deepEqual(finals, [1, 5]);
    for (const { store } of cluster.nodes.values())
      assert.deepEqual(
        (await store.violations({ limit: 9 })).map(({ type }) => type).filter((type) => type !== "Timeout"),
        [],
      );
  } finally {
    await cluster.close();
  }
});

/** A chain source that leaves signatures away: what is left has the same txid. */
function withoutSignatures(chain: ChainSource): ChainSource {
  return new Proxy(chain, {
    get(target, name) {
      if (name === "rawTransaction")
        return async (txid: Txid) =>
          encodeUnsignedTransaction(parseTransaction(await target.rawTransaction(txid)));
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
