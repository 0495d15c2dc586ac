import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { deriveKey } from "@cairn/bitcoin";
import { CairnError } from "@cairn/core";
import { MOST_UNPROVEN_INDEX } from "../../src/choose-address.ts";
import { type Bench, createBench, type Ran } from "../bench.ts";
import { FakeNode, makeWallet } from "../fake-node.ts";

let bench: Bench;
let nodes: FakeNode[];
let honest: FakeNode["answers"];
before(async () => {
  bench = await createBench();
  honest = { ...bench.node.answers };
  nodes = [bench.node, await FakeNode.start(bench.cluster), await FakeNode.start(bench.cluster)];
});
beforeEach(() => {
  for (const node of nodes) node.answers = { ...honest };
});
after(async () => {
  for (const node of nodes.slice(1)) await node.close();
});

/** Runs the command with these nodes as its endpoints; the bench names the first by itself. */
const cairn = (count: number, ...words: readonly string[]): Promise<Ran> =>
  bench.cairn(...nodes.slice(1, count).flatMap((node) => ["--endpoint", node.url]), ...words);

function names(node: FakeNode | undefined, index: number): void {
  const { descriptor } = bench.node.wallet;
  assert.ok(node !== undefined);
  node.answers.getAddress = () => ({
    wallet: descriptor.wallet,
    address: deriveKey(descriptor, [0, index]).address,
    path: [0, index],
    descriptor: descriptor.text,
    unbacked: [],
  });
}
const addressAt = (index: number) => `${deriveKey(bench.node.wallet.descriptor, [0, index]).address}\n`;

test("the address is the furthest that f + 1 nodes vouch for, and one node can't push it beyond the gap", async () => {
  names(nodes[0], 900_000);
  names(nodes[1], 31);
  names(nodes[2], 30);
  const pushed = await cairn(3, "wallet", "address");
  assert.equal(pushed.stdout, addressAt(31), pushed.stderr);
  assert.match(pushed.stderr, /1 node\(s\) name an address more than 20 beyond/);
  names(nodes[0], 33);
  const near = await cairn(3, "wallet", "address");
  assert.equal(near.stdout, addressAt(31));
  assert.equal(near.stderr, "");
});

test("one node's word alone is believed up to a bound, and beyond it the advice is to name more nodes", async () => {
  names(nodes[0], MOST_UNPROVEN_INDEX);
  assert.equal((await cairn(1, "wallet", "address")).stdout, addressAt(MOST_UNPROVEN_INDEX));
  names(nodes[0], MOST_UNPROVEN_INDEX + 1);
  const refused = await cairn(1, "wallet", "address", "--json");
  assert.equal(refused.exit, 1);
  assert.equal(refused.stdout, "");
  const problem = JSON.parse(refused.stderr);
  assert.equal(problem.code, "peer-disagrees");
  assert.match(problem.detail, /set-endpoint/);
  assert.equal((await cairn(1, "wallet", "address", "--index", "5000")).stdout, addressAt(5000));
  names(nodes[1], MOST_UNPROVEN_INDEX + 1);
  assert.equal((await cairn(2, "wallet", "address")).stdout, addressAt(MOST_UNPROVEN_INDEX + 1));
});

test("a node that lies about the address, and one that is down, are named, and the others' word counts", async () => {
  const other = await makeWallet(bench.cluster, "other");
  const { descriptor } = bench.node.wallet;
  assert.ok(nodes[0] !== undefined && nodes[1] !== undefined);
  nodes[0].answers.getAddress = () => ({
    wallet: descriptor.wallet,
    address: deriveKey(other.descriptor, [0, 1]).address,
    path: [0, 1],
    descriptor: descriptor.text,
    unbacked: [],
  });
  nodes[1].answers.getAddress = () => {
    throw new CairnError("chain-unavailable", "no chain source answers");
  };
  names(nodes[2], 4);
  const ran = await cairn(3, "wallet", "address");
  assert.equal(ran.exit, 0, ran.stderr);
  assert.equal(ran.stdout, addressAt(4));
  assert.match(ran.stderr, new RegExp(`${nodes[0].url} names an address that does not follow`));
  assert.match(ran.stderr, new RegExp(`${nodes[1].url} gives no answer: no chain source`));
});

const balance = (confirmedSats: string, tipHeight: number) => () => ({
  wallet: bench.node.wallet.descriptor.wallet,
  confirmedSats,
  unconfirmedSats: "0",
  reservedSats: "0",
  spendableSats: confirmedSats,
  utxos: 1,
  tipHeight,
});

test("a balance on which nodes disagree is shown with a warning, and one that all share without", async () => {
  for (const node of nodes) node.answers.getBalance = balance("5000", 101);
  const agreed = await cairn(3, "wallet", "balance");
  assert.equal(agreed.stderr, "");
  assert.ok(nodes[2] !== undefined);
  nodes[2].answers.getBalance = balance("9000", 90);
  const ran = await cairn(3, "wallet", "balance");
  assert.equal(ran.exit, 0);
  assert.match(ran.stdout, /confirmed +0\.00005000 BTC/);
  assert.match(ran.stderr, new RegExp(`${nodes[2].url} says 9,000 sat confirmed at height 90`));
  const document = JSON.parse((await cairn(3, "wallet", "balance", "--json")).stdout);
  assert.equal(document.agreed, false);
  assert.deepEqual(document.nodes.at(-1), {
    endpoint: nodes[2].url,
    confirmedSats: "9000",
    tipHeight: 90,
    error: null,
  });
});
