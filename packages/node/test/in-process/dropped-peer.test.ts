import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import type { Courier, NodeIndex, Sats, SessionRow, WalletRecord } from "@cairn/core";
import { InProcessCluster, type InProcessNode } from "./cluster.ts";

const recipient = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

/** Far longer than any wait of these tests: what ends sooner was not ended by these. */
const never = { startMs: 600_000, roundMs: 600_000, sessionMs: 600_000 };
const LIMIT_MS = 90_000;

let cluster: InProcessCluster;
/** While true, messages of rounds are lost, so that every session stands still after its Start. */
let holding = false;
/** The node whose disk takes nothing more, as when its process was killed. */
let killed: NodeIndex | null = null;

beforeEach(async () => {
  holding = false;
  killed = null;
  cluster = await InProcessCluster.start({
    timeouts: never,
    keygenTimeouts: never,
    tampering: (index) => ({
      courier: losingRounds,
      fault: () => (killed === index ? "lost" : null),
    }),
  });
});
afterEach(() => cluster.close());

function losingRounds(courier: Courier): Courier {
  const send: Courier["send"] = (to, message) => {
    if (!holding || message.kind !== "round") courier.send(to, message);
  };
  return new Proxy(courier, {
    get: (target, name) => {
      if (name === "send") return send;
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

async function live({ store }: InProcessNode): Promise<readonly SessionRow[]> {
  return (await store.sessions({ live: true })).filter(({ execution }) => execution !== null);
}

/** Waits until the rounds of one session run at all of its signers, and gives its row. */
async function stuckSession(): Promise<SessionRow> {
  let found: SessionRow | undefined;
  await cluster.until(
    async () => {
      const rows = (await Promise.all([...cluster.nodes.values()].map(live))).flat();
      found = rows.find(
        ({ session, signers }) => rows.filter((row) => row.session === session).length === signers.length,
      );
      return found !== undefined;
    },
    LIMIT_MS,
    () => "no session began",
  );
  assert.ok(found);
  return found;
}

/** Waits until the session has ended at all who are there, and gives what ended it. */
async function failures(session: SessionRow["session"], nodes: readonly InProcessNode[]): Promise<string[]> {
  let ended: string[] = [];
  await cluster.until(
    async () => {
      const rows = await Promise.all(
        nodes.map(async ({ store }) => (await store.sessions({})).find((row) => row.session === session)),
      );
      ended = rows.flatMap((row) => (row == null || row.endedAt === null ? [] : [String(row.failure)]));
      return ended.length === nodes.length;
    },
    LIMIT_MS,
    () => `the session ended at ${ended.length} of ${nodes.length}`,
  );
  return ended;
}

async function nobodyIsBlamed(): Promise<void> {
  for (const { runtime, store } of cluster.nodes.values()) {
    assert.deepEqual(runtime.bans.bans(), []);
    assert.deepEqual(await store.violations({ limit: 100 }), []);
  }
}

function fund(record: WalletRecord): void {
  const booked = cluster.node(1).runtime.wallets.all()[0];
  assert.ok(booked);
  const { address } = deriveKey(booked.descriptor, [0, 0]);
  cluster.chain.fund(decodeAddress(address, "regtest").script, 500_000n);
  cluster.chain.mine(1);
  assert.equal(record.wallet, booked.row.wallet);
}

test("a key generation whose participant drops out ends at once for the others, and goes on when it is back", async () => {
  holding = true;
  const keyId = await cluster.node(1).runtime.generateKey(cluster.keygenRequest("frost", "dropped"));
  const { session } = await stuckSession();
  await cluster.node(5).crash();
  assert.deepEqual(new Set(await failures(session, [...cluster.nodes.values()])), new Set(["timeout"]));
  await nobodyIsBlamed();
  holding = false;
  await cluster.startNode(5 as NodeIndex);
  await cluster.until(
    () =>
      [...cluster.nodes.values()].every(({ runtime }) =>
        runtime.keys.list().some(({ row }) => row.keyId === keyId && row.status === "active"),
      ),
    LIMIT_MS,
    () => "the key was not made",
  );
});

test("a spend whose signer drops out is signed by the others at the next attempt", async () => {
  const record = await cluster.makeWallet("frost");
  fund(record);
  holding = true;
  const { body, signature } = cluster.spendRequest(record, {
    outputs: [{ address: recipient, amountSats: 100_000n as Sats }],
  });
  const { intent } = await cluster.node(1).runtime.submit(body, signature);
  const { session, signers } = await stuckSession();
  const [gone] = signers;
  assert.ok(gone);
  await cluster.node(gone).crash();
  const left = signers.filter((node) => node !== gone).map((node) => cluster.node(node));
  assert.deepEqual(new Set(await failures(session, left)), new Set(["timeout"]));
  holding = false;
  await cluster.until(
    async () => {
      const rows = await Promise.all(
        [...cluster.nodes.values()].map(({ store }) => store.transaction({ intent })),
      );
      return rows.every((row) => row != null && row.signedTx !== null);
    },
    LIMIT_MS,
    () => "it was not signed",
  );
  await nobodyIsBlamed();
});

test("a signer that is back within moments tells the others that its sessions are over", async () => {
  const record = await cluster.makeWallet("frost");
  fund(record);
  holding = true;
  const { body, signature } = cluster.spendRequest(record, {
    outputs: [{ address: recipient, amountSats: 100_000n as Sats }],
  });
  await cluster.node(1).runtime.submit(body, signature);
  const { session, signers } = await stuckSession();
  const [restarted] = signers;
  assert.ok(restarted);
  killed = restarted;
  await cluster.node(restarted).crash();
  killed = null;
  await cluster.startNode(restarted);
  const left = signers.filter((node) => node !== restarted).map((node) => cluster.node(node));
  assert.deepEqual(new Set(await failures(session, left)), new Set(["closed"]));
  await nobodyIsBlamed();
});
