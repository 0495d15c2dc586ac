import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import { outpointText, type Sats, type TransactionRow, type UnixMs } from "@cairn/core";
import { InProcessCluster } from "./cluster.ts";

const recipient = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const ended: ReadonlySet<string> = new Set(["failed", "rejected", "expired", "aborted-timeout", "replaced"]);

test("of two requests at two nodes at once that want the same coin one is paid, and the other ends with its reservations freed; asked again it is paid once, from another coin", async () => {
  const cluster = await InProcessCluster.start();
  try {
    const record = await cluster.makeWallet("frost");
    const booked = cluster.node(1).runtime.wallets.all()[0];
    assert.ok(booked);
    cluster.chain.fund(
      decodeAddress(deriveKey(booked.descriptor, [0, 0]).address, "regtest").script,
      500_000n,
    );
    cluster.chain.mine(1);
    const ask = () =>
      cluster.spendRequest(record, {
        outputs: [{ address: recipient, amountSats: 300_000n as Sats }],
        expiry: (Date.now() + 90_000) as UnixMs,
      });
    const [one, two] = [ask(), ask()];
    const made = await Promise.all([
      cluster.node(1).runtime.submit(one.body, one.signature),
      cluster.node(2).runtime.submit(two.body, two.signature),
    ]);
    assert.notEqual(made[0].intent, made[1].intent);
    const rows = async (): Promise<readonly (TransactionRow | null)[][]> =>
      Promise.all(
        made.map(({ intent }) =>
          Promise.all([...cluster.nodes.values()].map(({ store }) => store.transaction({ intent }))),
        ),
      );
    const paid = (of: readonly (TransactionRow | null)[]) =>
      of.every((row) => row != null && row.signedTx !== null);
    const over = (of: readonly (TransactionRow | null)[]) =>
      of.every((row) => row != null && ended.has(row.state));
    let last: string[][] = [];
    await cluster.until(
      async () => {
        const found = await rows();
        last = found.map((of) => of.map((row) => `${row?.state}/${row?.reason}`));
        return found.some(paid) && found.some(over);
      },
      40_000,
      () => `the two are at ${last.join(" and ")}`,
    );
    const found = await rows();
    assert.equal(
      found.filter((of) => of.some((row) => row?.signedTx != null)).length,
      1,
      "one coin, one payment",
    );
    cluster.chain.mine(6);
    const held = () =>
      [...cluster.nodes.values()].map(({ runtime }) => runtime.spends.reservedSats(record.wallet));
    await cluster.until(
      () => held().every((sats) => sats === 0n),
      10_000,
      () => `still reserved: ${held()}`,
    );

    const loser = [one, two][found.findIndex((of) => of.every((row) => row?.signedTx === null))];
    assert.ok(loser);
    const { script } = decodeAddress(deriveKey(booked.descriptor, [0, 1]).address, "regtest");
    cluster.chain.fund(script, 500_000n);
    cluster.chain.mine(1);
    // At whichever node it is asked again, and by whoever holds it.
    let asked: readonly TransactionRow[] = [];
    await cluster.until(
      async () => {
        asked = await Promise.all(
          [3, 4].map((at) => cluster.node(at).runtime.submit(loser.body, loser.signature)),
        );
        return asked.every(({ intent }) => made.every((before) => before.intent !== intent));
      },
      20_000,
      () => "what gave way is not tried again",
    );
    const ofRequest = async (): Promise<readonly (readonly TransactionRow[])[]> =>
      Promise.all(
        [...cluster.nodes.values()].map(async ({ store }) =>
          (await store.transactionsOfLineage(asked[0]?.lineage ?? assert.fail())).filter(
            ({ signedTx }) => signedTx !== null,
          ),
        ),
      );
    await cluster.until(
      async () => (await ofRequest()).every((signed) => signed.length > 0),
      40_000,
      () => "what was asked again is not paid",
    );
    cluster.chain.mine(6);
    await cluster.until(
      () => held().every((sats) => sats === 0n),
      20_000,
      () => `still reserved after the second payment: ${held()}`,
    );
    // Both may be signed, since they spend the same coin: the chain takes one.
    const signed = (await ofRequest()).flat();
    const [coin] = signed[0]?.outpoints.map(outpointText) ?? [];
    assert.ok(signed.every(({ outpoints }) => outpoints.map(outpointText).some((other) => other === coin)));
    const confirmed = async (): Promise<ReadonlySet<string>> =>
      new Set((await ofRequest()).flat().flatMap(({ txid, state }) => (state === "confirmed" ? [txid] : [])));
    await cluster.until(
      async () => (await confirmed()).size > 0,
      20_000,
      () => "what was asked again is not confirmed",
    );
    assert.equal((await confirmed()).size, 1);
    const { intent } = await cluster.node(5).runtime.submit(loser.body, loser.signature);
    assert.ok(
      (await ofRequest()).flat().some((row) => row.intent === intent),
      "what is paid is not tried again",
    );
    assert.ok(found.some(paid) && (await rows()).some(over), "what was displaced stays unpaid");
  } finally {
    await cluster.close();
  }
});

test("one request that two nodes make the same transaction of is paid once, and every node shows it as confirmed", async () => {
  const cluster = await InProcessCluster.start();
  try {
    const record = await cluster.makeWallet("frost");
    const booked = cluster.node(1).runtime.wallets.all()[0];
    assert.ok(booked);
    // Two intents of one transaction differ by when they were made: within one millisecond they are the same.
    for (let differ = false, round = 0; !differ && round < 20; round += 1) {
      // One coin, and nothing left of it: whoever builds the transaction builds the same.
      const { address } = deriveKey(booked.descriptor, [0, round]);
      cluster.chain.fund(decodeAddress(address, "regtest").script, 500_000n);
      cluster.chain.mine(1);
      const { body, signature } = cluster.spendRequest(record, {
        outputs: [{ address: recipient, amountSats: 499_500n as Sats }],
      });
      const [one, two] = await Promise.all([
        cluster.node(1).runtime.submit(body, signature),
        cluster.node(5).runtime.submit(body, signature),
      ]);
      assert.equal(one.txid, two.txid);
      differ = one.intent !== two.intent;
      const seen = () =>
        Promise.all([...cluster.nodes.values()].map(({ store }) => store.transaction({ txid: one.txid })));
      await cluster.until(
        async () => (await seen()).some((row) => row?.state === "broadcasting"),
        40_000,
        () => "it is not paid",
      );
      cluster.chain.mine(6);
      let last: string[] = [];
      await cluster.until(
        async () => {
          last = (await seen()).map((row) => `${row?.state}/${row?.reason}`);
          return last.every((state) => state === "confirmed/null");
        },
        20_000,
        () => `it is paid, but the nodes are at ${last}`,
      );
      assert.ok(differ || round < 19, "two nodes never made two intents");
    }
  } finally {
    await cluster.close();
  }
});
