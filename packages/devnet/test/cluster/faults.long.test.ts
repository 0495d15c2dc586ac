import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import type { KeyPath, Protocol, Txid } from "@cairn/core";
import type { Cluster } from "../../src/cluster/cluster.ts";
import { ClusterOwner, type OwnedWallet, type Recipient } from "../../src/cluster/cluster-owner.ts";
import type { LogLine } from "../../src/cluster/node-process.ts";
import { until } from "../../src/cluster/until.ts";
import { readBurns } from "./read-burns.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";

const nodes = [1, 2, 3, 4, 5];

const DEPOSIT = 200_000n;
/** Leaves so little that there is no change: presignatures are made for few coins. */
const NEARLY_ALL = 199_500n;

let cluster: Cluster;
let owner: ClusterOwner;
let frost: OwnedWallet;
let ecdsa: OwnedWallet;
let funded = 0;

before(async () => {
  cluster = await startReducedCluster({ ecdsa: true });
  owner = new ClusterOwner(cluster);
  frost = await owner.wallet(await owner.requestKey("frost", "savings"), 60_000);
  ecdsa = await owner.wallet(await owner.requestKey("cggmp24", "spending"), 180_000);
});
after(() => cluster.close());

afterEach(async () => {
  for (const index of nodes) if (!cluster.node(index).running) await cluster.start(index);
  await cluster.meshed();
});

function pays(amountSats: bigint): Recipient[] {
  return [{ address: cluster.chain.faucet.address, amountSats }];
}

function deposit(wallet: OwnedWallet): void {
  owner.fund(wallet, [0, funded % 15], DEPOSIT);
  funded += 1;
}

/** Kills node `index` with SIGKILL as soon as it logs a line of which `moment` is true, counted from now on. */
async function killWhen(index: number, moment: (line: LogLine) => boolean): Promise<void> {
  const old = new Set(cluster.logs(index));
  await until(() => (cluster.logs(index).some((line) => !old.has(line) && moment(line)) ? true : null), {
    timeoutMs: 60_000,
    describe: () => `node ${index} never came to the moment at which it is to be killed`,
    everyMs: 2,
  });
  await cluster.kill(index);
}

/** The survivors pay without the node that was killed; it comes back, and all five see the payment. */
async function paidByAll(txid: Txid, victim: number): Promise<void> {
  await owner.published(txid, 90_000);
  await cluster.start(victim);
  cluster.chain.faucet.mine(1);
  const views = await owner.confirmed(txid, 60_000);
  assert.equal(views.length, 5);
  assert.equal(new Set(views.map(({ rawTx }) => rawTx)).size, 1);
}

for (const victim of nodes) {
  test(`node ${victim} is killed while it votes: the others pay, and it learns of it`, async () => {
    deposit(frost);
    const dying = killWhen(victim, (line) => line.message === "transaction" && line.state === "voting");
    const txid = await owner.submit((victim % 5) + 1, owner.spendRequest(frost, pays(40_000n)));
    await dying;
    await paidByAll(txid, victim);
  });

  test(`node ${victim} is killed right after it took a request: the request is paid or ends, never twice`, async () => {
    deposit(frost);
    const signed = owner.spendRequest(frost, pays(41_000n));
    const txid = await owner.submit(victim, signed);
    await cluster.kill(victim);
    await cluster.start(victim);
    assert.equal(await owner.submit(victim, signed), txid);
    await owner.published(txid, 90_000);
    cluster.chain.faucet.mine(1);
    assert.equal((await owner.confirmed(txid, 60_000)).length, 5);
  });

  test(`node ${victim} is killed in a signing session of each kind: the others pay, and it learns of it`, async () => {
    for (const wallet of [frost, ecdsa]) {
      deposit(wallet);
      // Whoever is not among the signers sees no session, only what comes of it.
      const dying = killWhen(
        victim,
        ({ message, purpose, state }) =>
          (message === "session" && purpose === "sign") || (message === "transaction" && state === "signed"),
      );
      const txid = await owner.submit((victim % 5) + 1, owner.spendRequest(wallet, pays(NEARLY_ALL)));
      await dying;
      await paidByAll(txid, victim);
      await cluster.meshed();
    }
  });

  test(`node ${victim} is killed while presignatures are made: stock grows again and pays`, async () => {
    deposit(ecdsa);
    await killWhen(victim, (line) => line.message === "session" && line.purpose === "presign");
    await cluster.start(victim);
    await cluster.meshed();
    const path: KeyPath = [0, (funded - 1) % 15];
    await until(async () => ((await owner.nodesStocked(ecdsa, path)) >= 4 ? true : null), {
      timeoutMs: 120_000,
      describe: async () => `presignatures are ready at ${await owner.nodesStocked(ecdsa, path)} nodes`,
    });
    const { views } = await owner.pay((victim % 5) + 1, owner.spendRequest(ecdsa, pays(NEARLY_ALL)), 90_000);
    assert.equal(views.length, 5);
  });

  for (const protocol of ["frost", "cggmp24"] satisfies Protocol[]) {
    test(`node ${victim} is killed in a ${protocol} keygen: all nodes end with the same key, or all without it`, async () => {
      const dying = killWhen(victim, (line) => line.message === "session" && line.purpose === "keygen");
      const keyId = await owner.requestKey(protocol, `${protocol} ${victim}`, (victim % 5) + 1);
      await dying;
      await cluster.start(victim);
      let seen: string[] = [];
      const statuses = await until(
        async () => {
          const views = await Promise.all(
            nodes.map((index) => cluster.client(index).call("getKey", { params: { keyId } })),
          );
          seen = views.map(({ status, stage, reason }) => `${status}/${stage}/${reason}`);
          return views.every(({ status }) => status === "active" || status === "failed")
            ? views.map(({ status }) => status)
            : null;
        },
        { timeoutMs: 240_000, describe: () => `the key is at ${seen.join(", ")}` },
      );
      assert.equal(new Set(statuses).size, 1, statuses.join());
      if (statuses[0] === "failed") return;
      const wallet = await owner.wallet(keyId, 30_000);
      owner.fund(wallet, [0, 0], 100_000n);
      await owner.pay(victim, owner.spendRequest(wallet, pays(20_000n)), 90_000);
    });
  }
}

test("after all that no presignature was burned for two sessions, and every node's count of burns has no gaps", async () => {
  await Promise.all(nodes.map((index) => cluster.stop(index)));
  const sessions = new Map<string, Set<string>>();
  let burned = 0;
  for (const index of nodes) {
    const burns = readBurns(cluster.node(index).dir);
    burned += burns.length;
    assert.deepEqual(
      burns.map(({ counter }) => counter),
      burns.map((_, at) => at + 1),
    );
    assert.equal(new Set(burns.map(({ presignature }) => presignature)).size, burns.length);
    for (const { presignature, session } of burns)
      sessions.set(presignature, (sessions.get(presignature) ?? new Set()).add(session));
  }
  assert.ok(burned > 0);
  for (const [presignature, of] of sessions) assert.equal(of.size, 1, `${presignature}: ${[...of].join()}`);
});
