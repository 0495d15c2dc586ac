import { createHash } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type NodeStore,
  nodeIndexSchema,
  type Outpoint,
  type StoreWrite,
  systemClock,
  type TransactionRow,
} from "@cairn/core";
import { ClusterOwner, startCluster, until } from "@cairn/devnet";
import { openSqliteStore } from "@cairn/storage";
import { ask } from "./ask.ts";
import type { Plan } from "./plan.ts";
import type { Entry } from "./report.ts";
import { spreadOf } from "./spread.ts";

const LIMIT_MS = 240_000;
const COINS = 16;
const COIN_SATS = 1_000_000n;
/** Payments that are requested of the node after it began over its history. */
const PAYMENTS = 4;
/** A confirmed transaction is nothing that a node follows when it is this deep. */
const SETTLED = 8;
const BEHIND_MS = 60_000;
const BATCH = 500;
const REST_MS = 5_000;
const MOST = 1.2;
const MEGABYTE = 1e6;
const OLD = 1;

/**
 * Resident memory of a daemon that began over a store of many settled payments and made some more, beside what it took over few. The history
 * is copies of one payment that the cluster made, a minute from one to the next, written to the store while the daemon is stopped.
 */
export async function history(plan: Plan): Promise<readonly Entry[]> {
  const cluster = await startCluster({ level: "reduced", settings: { chain: { poll_ms: 1_000 } } });
  try {
    const owner = new ClusterOwner(cluster);
    const { chain, faucet } = cluster.chain;
    const wallet = await owner.wallet(await owner.requestKey("frost", "history"), LIMIT_MS);
    for (let coin = 0; coin < COINS; coin += 1) owner.fund(wallet, [0, 0], COIN_SATS);
    await until(
      async () => (await owner.balances(wallet)).every(({ confirmedSats }) => confirmedSats > 0n) || null,
      { timeoutMs: LIMIT_MS, describe: () => "the nodes do not see the deposits" },
    );
    const pay = async () => {
      const txid = await ask(owner, OLD, wallet, { address: faucet.address, amountSats: 10_000n });
      await until(() => (chain.transaction(txid) === undefined ? null : true), {
        timeoutMs: LIMIT_MS,
        describe: () => "a payment is not published",
      });
      faucet.mine(SETTLED);
    };
    await pay();
    await sleep(REST_MS);
    const [few, many] = plan.settled;
    const database = join(cluster.files.nodes[OLD - 1]?.dir ?? "", "data", "cairn.db");
    let written = 0;
    const sizeAfter = async (count: number) => {
      await cluster.stop(OLD);
      const owns = { cluster: cluster.manifest.cluster, node: nodeIndexSchema.parse(OLD) };
      const store = await openSqliteStore({ path: database, ...owns }, { clock: systemClock });
      try {
        await fill(store, written, count);
        written = count;
      } finally {
        await store.close();
      }
      const began = performance.now();
      await cluster.start(OLD);
      await cluster.meshed();
      const seconds = (performance.now() - began) / 1_000;
      for (let at = 0; at < PAYMENTS; at += 1) await pay();
      await sleep(REST_MS);
      return { bytes: await cluster.rssBytes(OLD), seconds };
    };
    const early = await sizeAfter(few);
    const late = await sizeAfter(many);
    const told = ({ bytes, seconds }: typeof early) =>
      `${(bytes / MEGABYTE).toFixed(0)} MB, up after ${seconds.toFixed(1)} s`;
    return [
      {
        section: "memory of a node in use",
        what: `over ${many} settled payments`,
        partner: `over ${few}`,
        ratio: spreadOf([late.bytes / early.bytes]),
        target: { most: MOST },
        note: `${told(early)}, then ${told(late)}${many < 100_000 ? "; the target is meant for 100,000" : ""}`,
      },
    ];
  } finally {
    await cluster.close();
  }
}

/** Writes copies number `from` to `to` of the newest payment there is: its transaction, votes, rounds, reservation and session. */
async function fill(store: NodeStore, from: number, to: number): Promise<void> {
  const [model] = await store.transactions({ limit: 1 });
  if (model === undefined) throw new Error("there is no payment to copy");
  const votes = await store.votes(model.intent);
  const rounds = await store.votingRounds(model.intent);
  const reservation = await store.reservation(model.lineage);
  const [session] = await store.sessions({ purpose: "sign", limit: 1 });
  let writes: StoreWrite[] = [];
  for (let at = from; at < to; at += 1) {
    const name = (what: string) => createHash("sha256").update(`${what} ${at}`).digest("hex") as never;
    const intent = name("intent");
    const before = <Time extends number>(time: Time) => (time - (at + 1) * BEHIND_MS) as Time;
    const outpoints: readonly Outpoint[] = model.outpoints.map(({ vout }) => ({ txid: name("coin"), vout }));
    const row: TransactionRow = {
      ...model,
      intent,
      txid: name("transaction"),
      request: name("request"),
      lineage: name("request"),
      state: "confirmed",
      outpoints,
      createdAt: before(model.createdAt),
      updatedAt: before(model.updatedAt),
      expiry: before(model.expiry),
      firstSeenAt: before(model.firstSeenAt),
      confirmedAt: before(model.confirmedAt ?? model.updatedAt),
      confirmations: SETTLED,
    };
    writes.push({ write: "transaction", row });
    for (const round of rounds) writes.push({ write: "voting-round", row: { ...round, intent } });
    for (const vote of votes) writes.push({ write: "vote", row: { ...vote, intent } });
    if (reservation !== null)
      writes.push({
        write: "reservation",
        row: {
          ...reservation,
          lineage: name("request"),
          intents: reservation.intents.map((each) => ({ ...each, intent, outpoints })),
          reservedAt: before(reservation.reservedAt),
        },
      });
    if (session !== undefined)
      writes.push({
        write: "session",
        row: {
          ...session,
          session: name("session"),
          subject: name("grant"),
          execution: name("execution"),
          startedAt: before(session.startedAt),
          endedAt: before(session.endedAt ?? session.startedAt),
        },
      });
    if (writes.length >= BATCH || at === to - 1) {
      await store.commit(writes);
      writes = [];
    }
  }
}
