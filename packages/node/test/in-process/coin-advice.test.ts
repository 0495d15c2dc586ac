import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import { type Sats, systemClock } from "@cairn/core";
import type { CoinAdvice } from "@cairn/runtime";
import { CoordinationHub, openMemoryCoordination } from "@cairn/storage";
import { SharedCoinAdvice } from "../../src/shared-coin-advice.ts";
import { InProcessCluster } from "./cluster.ts";

const recipient = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const ended: ReadonlySet<string> = new Set(["failed", "rejected", "expired", "aborted-timeout", "replaced"]);
const REQUESTS = 16;

/** Asks five nodes for 16 payments at once, of a wallet with a coin for each. @returns how many have a coin to themselves */
async function contend(coinAdvice: CoinAdvice | undefined): Promise<{ alone: number; paid: number }> {
  const cluster = await InProcessCluster.start(coinAdvice === undefined ? {} : { coinAdvice });
  try {
    const record = await cluster.makeWallet("frost");
    const booked = cluster.node(1).runtime.wallets.all()[0];
    assert.ok(booked);
    for (let index = 0; index < REQUESTS; index += 1) {
      const { address } = deriveKey(booked.descriptor, [0, index]);
      cluster.chain.fund(decodeAddress(address, "regtest").script, 500_000n);
    }
    cluster.chain.mine(1);
    const made = await Promise.all(
      Array.from({ length: REQUESTS }, async (_, at) => {
        const { body, signature } = cluster.spendRequest(record, {
          outputs: [{ address: recipient, amountSats: 300_000n as Sats }],
        });
        return cluster.node((at % 5) + 1).runtime.submit(body, signature);
      }),
    );
    const wanted = made.flatMap(({ outpoints }) => outpoints.map(({ txid, vout }) => `${txid}:${vout}`));
    const alone = wanted.filter((coin) => wanted.filter((other) => other === coin).length === 1).length;
    const rows = async () =>
      Promise.all(made.map(({ intent }) => cluster.node(1).store.transaction({ intent })));
    await cluster.until(
      async () =>
        (await rows()).every((row) => row != null && (row.signedTx !== null || ended.has(row.state))),
      90_000,
      () => "some payments neither end nor are signed",
    );
    const paid = (await rows()).filter((row) => row !== null && row.signedTx !== null);
    // Whatever was advised, no coin is paid twice.
    const spent = paid.flatMap((row) =>
      row === null ? [] : row.outpoints.map(({ txid, vout }) => `${txid}:${vout}`),
    );
    assert.equal(new Set(spent).size, spent.length);
    return { alone, paid: paid.length };
  } finally {
    await cluster.close();
  }
}

test("requests at five nodes at once that share advice all have a coin of their own and are paid at the first try", async (t: TestContext) => {
  const hub = new CoordinationHub({ clock: systemClock });
  const advice = new SharedCoinAdvice({ coordination: openMemoryCoordination(hub), clock: systemClock });
  const shared = await contend(advice);
  assert.deepEqual(shared, { alone: REQUESTS, paid: REQUESTS });
  const unadvised = await contend(undefined);
  t.diagnostic(
    `a coin of their own: ${shared.alone} of ${REQUESTS} with advice, ${unadvised.alone} without; paid: ${shared.paid}, ${unadvised.paid}`,
  );
});

test("advice that calls every coin taken costs its benefit and no more: payments are made as without it", async () => {
  const everything: CoinAdvice = { claim: async (outpoints) => new Set(outpoints) };
  const { paid } = await contend(everything);
  assert.ok(paid > 0);
});
