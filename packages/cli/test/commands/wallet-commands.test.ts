import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";
import { deriveKey } from "@cairn/bitcoin";
import { type Bench, createBench } from "../bench.ts";
import { type FakeNode, makeWallet, manifestView } from "../fake-node.ts";

let bench: Bench;
let honest: FakeNode["answers"];
before(async () => {
  bench = await createBench();
  honest = { ...bench.node.answers };
});
beforeEach(() => {
  bench.node.answers = { ...honest };
});

const codeOf = (stderr: string): string => JSON.parse(stderr).code;

async function refused(...words: readonly string[]): Promise<void> {
  const ran = await bench.cairn(...words, "--json");
  assert.equal(codeOf(ran.stderr), "peer-disagrees", words.join(" "));
  assert.equal(ran.exit, 1);
  assert.equal(ran.stdout, "");
}

test("the address that is printed is derived here, and is the node's", async () => {
  const { descriptor } = bench.node.wallet;
  const ran = await bench.cairn("wallet", "address");
  assert.equal(ran.stdout, `${deriveKey(descriptor, [0, 7]).address}\n`);
  assert.deepEqual(JSON.parse((await bench.cairn("wallet", "address", "--json")).stdout), {
    wallet: descriptor.wallet,
    address: deriveKey(descriptor, [0, 7]).address,
    path: [0, 7],
    descriptor: descriptor.text,
  });
  const own = await bench.cairn("wallet", "address", "--index", "0");
  assert.equal(own.stdout, `${deriveKey(descriptor, [0, 0]).address}\n`);
});

test("a node that names another address, path or descriptor is refused", async () => {
  const { descriptor } = bench.node.wallet;
  const other = await makeWallet(bench.cluster, "other");
  const truth = {
    wallet: descriptor.wallet,
    address: deriveKey(descriptor, [0, 7]).address,
    path: [0, 7],
    descriptor: descriptor.text,
    unbacked: [],
  };
  const lies = [
    { address: deriveKey(other.descriptor, [0, 7]).address },
    { address: deriveKey(descriptor, [0, 8]).address },
    { address: deriveKey(descriptor, [1, 7]).address, path: [1, 7] },
    { path: [0, 0x80000000] },
    { descriptor: other.descriptor.text },
    { wallet: other.descriptor.wallet },
  ];
  for (const lie of lies) {
    bench.node.answers.getAddress = () => ({ ...truth, ...lie });
    await refused("wallet", "address");
  }
});

test("a record that not all nodes signed, or that was altered, is refused by every command that uses it", async () => {
  const { view } = bench.node.wallet;
  const other = await makeWallet(bench.cluster, "other");
  const lies = [
    { ...view, record: { ...view.record, label: "renamed" } },
    { ...view, record: { ...view.record, descriptor: other.view.record.descriptor } },
    { ...view, record: { ...view.record, wallet: other.view.record.wallet } },
    { ...view, signatures: view.signatures.slice(1) },
    { ...view, signatures: [...view.signatures.slice(1), view.signatures[1]] },
    { ...view, signatures: other.view.signatures },
    (await makeWallet(bench.cluster, "four", { signers: [1, 2, 3, 4] })).view,
    (await makeWallet(bench.cluster, "frost", { change: { protocol: "frost" } })).view,
    (await makeWallet(bench.cluster, "foreign", { change: { network: "signet" } })).view,
  ];
  for (const lie of lies) {
    bench.node.answers.listWallets = () => ({ wallets: [lie] });
    await refused("wallet", "list");
    await refused("wallet", "address");
    await refused("wallet", "export");
  }
});

test("another manifest than the pinned one is refused, however well it is signed", async () => {
  const second = await createBench();
  const { signedManifest, manifestHash } = bench.cluster;
  const { manifest } = signedManifest;
  const altered = { ...signedManifest, manifest: { ...manifest, requesters: [] } };
  for (const lie of [
    manifestView(second.cluster.signedManifest, second.cluster.manifestHash),
    manifestView(second.cluster.signedManifest, manifestHash),
    manifestView(altered, manifestHash),
    { hash: manifestHash, sequence: 0, signedManifest: Buffer.from("nonsense").toString("base64") },
  ]) {
    bench.node.answers.getManifest = () => lie;
    await refused("wallet", "list");
    await refused("cluster", "manifest");
    await refused(
      "send",
      "--to",
      deriveKey(bench.node.wallet.descriptor, [0, 0]).address,
      "--amount",
      "1000",
    );
  }
  assert.equal(bench.node.called("createTransaction").length, 0);
});

test("wallets are listed with what all nodes signed", async () => {
  const { record } = bench.node.wallet.view;
  const ran = await bench.cairn("wallet", "list");
  assert.equal(
    ran.stdout,
    [
      "WALLET            LABEL    PROTOCOL  NETWORK  KEY",
      `${record.wallet.slice(0, 16)}  savings  cggmp24   regtest  ${record.keyId.slice(0, 16)}`,
      "",
    ].join("\n"),
  );
  assert.deepEqual(JSON.parse((await bench.cairn("wallet", "list", "--json")).stdout), { wallets: [record] });
  bench.node.answers.listWallets = () => ({ wallets: [] });
  assert.match((await bench.cairn("wallet", "list")).stdout, /No wallet yet/);
});

test("a wallet is named by its id, the beginning of it, or its label; where several fit, one has to be named", async () => {
  const second = await makeWallet(bench.cluster, "daily");
  const { view } = bench.node.wallet;
  bench.node.answers.listWallets = () => ({ wallets: [view, second.view] });
  const exported = async (name: string) =>
    (await bench.cairn("wallet", "export", "--wallet", name)).stdout.trim();
  assert.equal(await exported("daily"), second.descriptor.text);
  assert.equal(await exported(second.descriptor.wallet), second.descriptor.text);
  assert.equal(await exported(second.descriptor.wallet.slice(0, 8)), second.descriptor.text);
  assert.equal(codeOf((await bench.cairn("wallet", "export", "--json")).stderr), "malformed");
  assert.equal(
    codeOf((await bench.cairn("wallet", "export", "--wallet", "none", "--json")).stderr),
    "not-found",
  );
});

test("a balance is shown in both units", async () => {
  const { wallet } = bench.node.wallet.descriptor;
  bench.node.answers.getBalance = ({ query }) => {
    assert.equal(query.wallet, wallet);
    return {
      wallet,
      confirmedSats: "250000000",
      unconfirmedSats: "1",
      reservedSats: "0",
      spendableSats: "250000001",
      utxos: 3,
      tipHeight: 101,
    };
  };
  const ran = await bench.cairn("wallet", "balance");
  assert.equal(
    ran.stdout,
    [
      `wallet       savings (${wallet.slice(0, 16)})`,
      "spendable    2.50000001 BTC  (250,000,001 sat)",
      "confirmed    2.50000000 BTC  (250,000,000 sat)",
      "unconfirmed  0.00000001 BTC  (1 sat)",
      "reserved     0.00000000 BTC  (0 sat)",
      "coins        3",
      "tip          101",
      "",
    ].join("\n"),
  );
  assert.equal(JSON.parse((await bench.cairn("wallet", "balance", "--json")).stdout).utxos, 3);
});

test("a label can't write over the terminal", async () => {
  const evil = await makeWallet(bench.cluster, "\u001b[2Jsafe\u202e");
  bench.node.answers.listWallets = () => ({ wallets: [evil.view] });
  const ran = await bench.cairn("wallet", "list");
  assert.equal(ran.exit, 0, ran.stderr);
  for (const mark of ["\u001b", "\u202e"]) assert.ok(!ran.stdout.includes(mark));
});
