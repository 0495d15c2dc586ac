import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import type { Courier, NodeIndex, Sats } from "@cairn/core";
import { readMetadata } from "@cairn/runtime";
import { overheard } from "@cairn/runtime/test-support";
import { InProcessCluster } from "./cluster.ts";

test("certificates go to nobody who has the votes, signatures only to who has not shown them", async () => {
  const posted: { readonly kind: string; readonly to: NodeIndex }[] = [];
  const note = (courier: Courier): Courier =>
    overheard(courier, ({ kind }, to, how) => {
      if (how === "posted") posted.push({ kind, to });
    });
  const cluster = await InProcessCluster.start({
    recheckMs: 5_000,
    tampering: () => ({ courier: note }),
  });
  try {
    const record = await cluster.makeWallet("frost");
    const booked = cluster.node(1).runtime.wallets.get(record.wallet);
    const { address } = deriveKey(booked.descriptor, [0, 0]);
    cluster.chain.fund(decodeAddress(address, "regtest").script, 1_000_000n);
    cluster.chain.mine(1);
    const recipient = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const signed = cluster.spendRequest(record, {
      outputs: [{ address: recipient, amountSats: 200_000n as Sats }],
    });
    const { intent } = await cluster.node(2).runtime.submit(signed.body, signed.signature);
    const rows = () => [...cluster.nodes.values()].map(({ runtime }) => runtime.spends.get(intent)?.row);
    const finals = () => posted.filter(({ kind }) => kind === "final");
    await cluster.until(
      () => finals().length > 0 && rows().every((row) => row?.signedTx != null && row.certificate !== null),
      20_000,
      () => `the spend is at ${rows().map((row) => row?.state)}`,
    );
    const signers = readMetadata(rows()[0]?.metadata ?? "").signers;
    assert.deepEqual(
      posted.filter(({ kind }) => kind === "certificate"),
      [],
    );
    assert.deepEqual(
      finals().filter(({ to }) => signers.includes(to)),
      [],
    );
  } finally {
    await cluster.close();
  }
});
