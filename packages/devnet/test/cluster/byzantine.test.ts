import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { z } from "zod";
import type { Cluster } from "../../src/cluster/cluster.ts";
import { ClusterOwner, type OwnedWallet } from "../../src/cluster/cluster-owner.ts";
import { until } from "../../src/cluster/until.ts";
import { Operators } from "./operators.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";

const HONEST = [1, 2, 3, 4];
const HOSTILE = 5;
const LIMIT_MS = 60_000;
/** Payments after which chance, which picks signers and initiators, has had its say. */
const MOST_PAYMENTS = 12;
const provenSchema = z.object({ verdict: z.literal("proven"), type: z.string(), node: z.number() });
const violationSchema = z.object({ node: z.number(), type: z.string(), action: z.string() });

let cluster: Cluster;
let operators: Operators;
let owner: ClusterOwner;
let wallet: OwnedWallet;
let payments = 0;

before(async () => {
  cluster = await startReducedCluster();
  operators = await Operators.of(cluster);
  owner = new ClusterOwner(cluster);
  wallet = await owner.wallet(await owner.requestKey("frost", "main"), LIMIT_MS);
  for (let index = 0; index < 20; index += 1) owner.fund(wallet, [0, index], 100_000n);
});
after(() => cluster.close());

/** Puts a hostile implementation in the place of node 5: same files and keys, another program. */
async function turnHostile(campaign: string): Promise<void> {
  if (cluster.node(HOSTILE).running) await cluster.stop(HOSTILE);
  const url = new URL("fixtures/hostile-daemon.ts", import.meta.url);
  await cluster.start(HOSTILE, { url, words: [campaign] });
  // What waited for it may be enough to make it lie at once.
  await until(
    async () => {
      for (const index of HONEST) {
        const { peersUp } = await cluster.client(index).call("health", {});
        if (peersUp < HONEST.length && (await bansAt(index)).length === 0) return null;
      }
      return true;
    },
    { timeoutMs: LIMIT_MS, describe: () => "the honest nodes do not see the hostile one" },
  );
}

/** One payment through the next honest node, which all honest nodes must see confirmed. */
async function pay(): Promise<void> {
  payments += 1;
  const recipients = [{ address: cluster.chain.faucet.address, amountSats: 20_000n }];
  const at = HONEST[payments % HONEST.length] ?? 1;
  const txid = await owner.submit(at, owner.spendRequest(wallet, recipients));
  await owner.published(txid, LIMIT_MS);
  cluster.chain.faucet.mine(1);
  await until(
    async () => {
      const views = await Promise.all(HONEST.map((index) => owner.transaction(index, txid)));
      return views.every((view) => view?.state === "confirmed") ? true : null;
    },
    { timeoutMs: LIMIT_MS, describe: () => "an honest node does not see the payment confirmed" },
  );
}

async function violations(index: number): Promise<readonly z.output<typeof violationSchema>[]> {
  const { entries } = await cluster
    .client(index)
    .call("listAudit", { query: { kind: "violation", limit: 200 } });
  return entries.map(({ data }) => violationSchema.parse(data));
}

async function bansAt(index: number) {
  const { bans } = await cluster.client(index).call("listBans", {});
  return bans.filter(({ inForce }) => inForce);
}

/** No honest node keeps another out, and none has another on record for what only an attacker does. */
async function assertNobodyFramed(): Promise<void> {
  for (const index of HONEST) {
    for (const { node } of await bansAt(index))
      assert.equal(node, HOSTILE, `node ${index} banned an honest node`);
    for (const { node, type } of await violations(index))
      if (type !== "Timeout") assert.equal(node, HOSTILE, `node ${index} accuses node ${node} of ${type}`);
  }
}

/** Pays until all honest nodes ban the hostile one, and verifies each one's evidence with the manifest alone. */
async function bannedByAll(type: string): Promise<void> {
  const banned = async () => (await Promise.all(HONEST.map(bansAt))).every((bans) => bans.length > 0);
  for (let count = 0; count < MOST_PAYMENTS && !(await banned()); count += 1) await pay();
  await until(async () => ((await banned()) ? true : null), {
    timeoutMs: LIMIT_MS,
    describe: () => `not every honest node banned node ${HOSTILE} for ${type}`,
  });
  for (const index of HONEST) {
    for (const { node, scope, violation } of await bansAt(index)) {
      assert.deepEqual([node, scope], [HOSTILE, "cluster"]);
      const file = join(cluster.files.dir, `${violation}-${index}.evidence`);
      await operators.cairn(index, "cluster", "bans", "explain", violation, "--export", file);
      const manifest = join(cluster.files.dir, "manifest.cbor");
      const judged = await operators.cairn(index, "evidence", "verify", file, "--manifest", manifest);
      const { type: proven, node: accused } = provenSchema.parse(judged);
      assert.deepEqual([proven, accused], [type, HOSTILE]);
    }
  }
  // The four go on while it is out.
  await pay();
  await assertNobodyFramed();
}

/** The operators stop the hostile process and end its bans, each with the own key at the own node. */
async function lift(): Promise<void> {
  await cluster.stop(HOSTILE);
  const known = async () =>
    (await Promise.all(HONEST.map(bansAt))).map((bans) =>
      bans
        .map(({ violation }) => violation)
        .sort()
        .join(),
    );
  await until(async () => (new Set(await known()).size === 1 ? true : null), {
    timeoutMs: LIMIT_MS,
    describe: () => "the honest nodes do not ban for the same faults",
  });
  const proposal = await operators.propose(1, "ban-lift", "--node", String(HOSTILE));
  await operators.sign(proposal, [2, 3, 4]);
  await operators.inForce(proposal, HONEST);
  for (const index of HONEST) assert.deepEqual(await bansAt(index), []);
}

test("a hostile process that replays and signs wrongly stops no payment and is named, and nobody is banned for what third parties cannot judge", async () => {
  await turnHostile("replays-and-bad-shares");
  const named = async () =>
    (await Promise.all(HONEST.map(violations))).flat().some(({ type }) => type === "InvalidRoundMessage");
  for (let count = 0; count < MOST_PAYMENTS && !(count >= 3 && (await named())); count += 1) await pay();
  assert.ok(await named(), "its wrong shares were never seen");
  for (const index of HONEST) assert.deepEqual(await bansAt(index), []);
  await assertNobodyFramed();
});

test("a hostile process that double votes is banned by all four with evidence that verifies offline, and they sign throughout", async () => {
  await turnHostile("double-votes");
  await bannedByAll("DoubleVote");
  await lift();
});

test("a hostile process that equivocates is banned by all four with evidence that verifies offline, and they sign throughout", async () => {
  await turnHostile("equivocates");
  await bannedByAll("Equivocation");
  await lift();
});

test("a hostile process that forges evidence is banned by all four with evidence that verifies offline, and they sign throughout", async () => {
  await turnHostile("forges-evidence");
  await bannedByAll("FalseAccusation");
  await lift();
});

test("an honest daemon with the same keys is let in after the lift, and its share makes signatures again", async () => {
  await cluster.start(HOSTILE);
  await cluster.meshed();
  await cluster.stop(4);
  const recipients = [{ address: cluster.chain.faucet.address, amountSats: 20_000n }];
  const { views } = await owner.pay(HOSTILE, owner.spendRequest(wallet, recipients), LIMIT_MS);
  for (const view of views) assert.deepEqual(view.signers, [1, 2, 3, HOSTILE]);
});
