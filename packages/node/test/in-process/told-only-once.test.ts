import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import {
  CairnError,
  type Courier,
  type NodeIndex,
  type Sats,
  type TransactionRow,
  type WalletRecord,
} from "@cairn/core";
import { overheard } from "@cairn/runtime/test-support";
import { InProcessCluster } from "./cluster.ts";

interface Sending {
  readonly kind: string;
  readonly from: NodeIndex;
  readonly to: NodeIndex;
}

/** Pays once from a FROST wallet. @returns the spend's row at each node, as it is when called */
async function payOnce(
  cluster: InProcessCluster,
  record: WalletRecord,
): Promise<() => readonly (TransactionRow | undefined)[]> {
  const booked = cluster.node(1).runtime.wallets.get(record.wallet);
  const { address } = deriveKey(booked.descriptor, [0, 0]);
  cluster.chain.fund(decodeAddress(address, "regtest").script, 1_000_000n);
  cluster.chain.mine(1);
  const recipient = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
  const signed = cluster.spendRequest(record, {
    outputs: [{ address: recipient, amountSats: 200_000n as Sats }],
  });
  const { intent } = await cluster.node(2).runtime.submit(signed.body, signed.signature);
  return () => [...cluster.nodes.values()].map(({ runtime }) => runtime.spends.get(intent)?.row);
}

test("the initiator alone tells of signatures, once; certificates go to nobody who has the votes", async () => {
  const heard: Sending[] = [];
  const cluster = await InProcessCluster.start({
    recheckMs: 5_000,
    tampering: (from) => ({
      courier: (courier) => overheard(courier, ({ kind }, to) => void heard.push({ kind, from, to })),
    }),
  });
  try {
    const record = await cluster.makeWallet("frost");
    heard.length = 0;
    const rows = await payOnce(cluster, record);
    const of = (kind: string) => heard.filter((sending) => sending.kind === kind);
    await cluster.until(
      () =>
        of("finalize").length > 0 && rows().every((row) => row?.signedTx != null && row.certificate !== null),
      20_000,
      () => `the spend is at ${rows().map((row) => row?.state)}`,
    );
    assert.deepEqual([of("certificate"), of("final")], [[], []]);
    assert.equal(of("finalize").length, cluster.nodes.size - 1);
    assert.equal(new Set(of("finalize").map(({ from }) => from)).size, 1);
  } finally {
    await cluster.close();
  }
});

test("whom an initiator keeps the signatures from asks for them", async () => {
  const finals: Sending[] = [];
  let withheld = 0;
  let paying = false;
  const cluster = await InProcessCluster.start({
    recheckMs: 100,
    tampering: (from) => ({
      courier: (courier: Courier): Courier => ({
        ...overheard(courier, ({ kind }, to) => {
          if (kind === "final") finals.push({ kind, from, to });
        }),
        send: (to, message) => {
          if (message.kind !== "finalize" || !paying) return courier.send(to, message);
          withheld += 1;
        },
      }),
    }),
  });
  try {
    const record = await cluster.makeWallet("frost");
    paying = true;
    // Nobody finds the transaction on the chain instead.
    cluster.chain.broadcast = () => Promise.reject(new CairnError("chain-unavailable", "no chain today"));
    const rows = await payOnce(cluster, record);
    await cluster.until(
      () => rows().every((row) => row?.signedTx != null && row.certificate !== null),
      60_000,
      () => `the spend is at ${rows().map((row) => row?.state)}`,
    );
    assert.equal(withheld, cluster.nodes.size - 1);
    assert.ok(finals.length > 0);
  } finally {
    await cluster.close();
  }
});
