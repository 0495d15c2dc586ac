import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import {
  isCairnError,
  type NodeStore,
  type Sats,
  systemClock,
  type UnixMs,
  type WalletRecord,
} from "@cairn/core";
import { openSqliteStore } from "@cairn/storage";
import { openPostgresStore } from "@cairn/storage/postgres";
import { PostgresServer } from "@cairn/storage/test-support";
import { InProcessCluster } from "../packages/node/test/in-process/cluster.ts";
import type { Plan } from "./plan.ts";
import type { Entry } from "./report.ts";
import { spreadOf } from "./spread.ts";

const SECTION = "what payments leave";
const LANES = 4;
const COINS = 64;
const COIN_SATS = 100_000_000n;
const PAID_SATS = 10_000n as Sats;
const RECIPIENT = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const BLOCK_EVERY = 10;
/** Depth at which nodes have nothing more to do for a payment. */
const SETTLED = 7;
const PAYMENT_LIMIT_MS = 180_000;
const AGAIN_MS = 20;
const REST_MS = 2_000;
const MEGABYTE = 1e6;
/** The node whose store is in Postgres; those of the others are files. */
const IN_POSTGRES = 2;
const PAGE = 100;
const SIGNATURE_BYTES = 64;

/**
 * What payments leave in memory and on disk: the nodes' own code over durable stores, five in one process, with the network and the chain in
 * memory. All that their heap still holds when everything is settled and all garbage is collected, and what their stores grew by.
 */
export async function growth(plan: Plan): Promise<readonly Entry[]> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-bench-"));
  const server = await PostgresServer.create();
  const patient = { ackMs: 60_000, startMs: 60_000, roundMs: 60_000, sessionMs: 240_000 };
  const cluster = await InProcessCluster.start({
    openStore: async (node, id) => {
      const owner = { cluster: id, node };
      const modules = { clock: systemClock };
      if (node !== IN_POSTGRES)
        return openSqliteStore({ path: join(folder, `${node}.db`), ...owner }, modules);
      await server.createDatabase("node");
      const location = { host: server.host, port: server.port, user: "cairn", database: "node", tls: null };
      return openPostgresStore({ location, password: async () => "secret", ...owner }, modules);
    },
    attempts: { slotMs: 60_000, patienceMs: 60_000, downPatienceMs: 60_000 },
    timeouts: patient,
    keygenTimeouts: patient,
  });
  try {
    const wallet = await cluster.makeWallet("frost");
    fund(cluster);
    const [few, many] = plan.grown;
    let begun = 0;
    let paid = 0;
    const payUntil = async (count: number): Promise<Left> => {
      await Promise.all(
        Array.from({ length: LANES }, async (_, lane) => {
          while (begun < count) {
            begun += 1;
            await pay(cluster, wallet, (lane % 5) + 1);
            paid += 1;
            if (paid % BLOCK_EVERY === 0) cluster.chain.mine(1);
          }
        }),
      );
      cluster.chain.mine(SETTLED);
      await cluster.until(
        () => [...cluster.nodes.values()].every(({ runtime }) => runtime.spends.all().length === 0),
        PAYMENT_LIMIT_MS,
        () => "payments do not settle",
      );
      await sleep(REST_MS);
      return {
        heap: await heapInUse(),
        sqlite: await sqliteBytes(join(folder, "1.db"), join(folder, "copy.db")),
        postgres: await postgresBytes(server),
        kept: await wordsIn(cluster.node(1).store),
      };
    };
    const early = await payUntil(few);
    const late = await payUntil(many);
    const payments = many - few;
    const each = (late.heap - early.heap) / payments / cluster.nodes.size;
    const kept = late.kept.bytes - early.kept.bytes;
    const audited = late.kept.audit - early.kept.audit;
    const stored = (name: string, of: (left: Left) => number): Entry => ({
      section: SECTION,
      what: `bytes that ${name} grows by for a settled payment`,
      partner: "signed transaction, intent with its request, votes and audit entries, as bytes",
      ratio: spreadOf([(of(late) - of(early)) / kept]),
      target: null,
      note: `${((of(late) - of(early)) / payments).toFixed(0)} beside ${(kept / payments).toFixed(0)}, of which ${(audited / payments).toFixed(0)} are audit entries; compacted, ${payments} payments`,
    });
    return [
      {
        section: SECTION,
        what: `heap in use after ${many} payments, five nodes and the chain in one process`,
        partner: `after ${few}`,
        ratio: spreadOf([late.heap / early.heap]),
        target: null,
        note: `${(early.heap / MEGABYTE).toFixed(1)} MB, then ${(late.heap / MEGABYTE).toFixed(1)} MB: ${each.toFixed(0)} bytes a payment and node`,
      },
      stored("sqlite", ({ sqlite }) => sqlite),
      stored("Postgres", ({ postgres }) => postgres),
    ];
  } finally {
    await cluster.close();
    await server.remove();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Bytes on disk, and those among them that a node must keep. */
interface Left {
  readonly heap: number;
  readonly sqlite: number;
  readonly postgres: number;
  readonly kept: Words;
}

interface Words {
  readonly bytes: number;
  readonly audit: number;
}

/** Size of a copy of the database without its free pages; nobody writes meanwhile. */
async function sqliteBytes(path: string, copy: string): Promise<number> {
  for (const part of ["", "-wal"]) await copyFile(`${path}${part}`, `${copy}${part}`);
  const database = new DatabaseSync(copy);
  try {
    database.exec("vacuum");
    const pages = Number(database.prepare("pragma page_count").get()?.page_count);
    return pages * Number(database.prepare("pragma page_size").get()?.page_size);
  } finally {
    database.close();
    for (const part of ["", "-wal", "-shm"]) await rm(`${copy}${part}`, { force: true });
  }
}

async function postgresBytes(server: PostgresServer): Promise<number> {
  await server.sql("node", "vacuum full");
  const [row] = await server.sql("node", "select pg_database_size('node') as size");
  return Number(row?.size);
}

/** Signed transactions, intents, votes and audit entries of a store, in bytes. */
async function wordsIn(store: NodeStore): Promise<Words> {
  let bytes = 0;
  let audit = 0;
  for (let from = 0; ; from += PAGE) {
    const entries = await store.audit({ from, limit: PAGE });
    for (const { body } of entries) audit += body.length + SIGNATURE_BYTES;
    if (entries.length < PAGE) break;
  }
  for (const { intent, intentBody, signedTx } of await store.transactions({ limit: 1_000_000 })) {
    bytes += intentBody.length + (signedTx?.length ?? 0) / 2;
    for (const { body } of await store.votes(intent)) bytes += body.length;
  }
  return { bytes: bytes + audit, audit };
}

function fund(cluster: InProcessCluster): void {
  const [wallet] = cluster.node(1).runtime.wallets.all();
  if (wallet === undefined) throw new Error("there is no wallet");
  const { script } = decodeAddress(deriveKey(wallet.descriptor, [0, 0]).address, "regtest");
  for (let coin = 0; coin < COINS; coin += 1) cluster.chain.fund(script, COIN_SATS);
  cluster.chain.mine(1);
}

async function pay(cluster: InProcessCluster, wallet: WalletRecord, at: number): Promise<void> {
  const outputs = [{ address: RECIPIENT, amountSats: PAID_SATS }];
  const expiry = (Date.now() + 10 * PAYMENT_LIMIT_MS) as UnixMs;
  const signed = cluster.spendRequest(wallet, { outputs, expiry });
  for (;;) {
    try {
      const { txid, intent } = await cluster.node(at).runtime.submit(signed.body, signed.signature);
      const isPublished = async () => (await cluster.chain.transactionStatus(txid)).state !== "unknown";
      // It gave way to one that another node built of the same coin at the same moment.
      const isDisplaced = async () =>
        (await cluster.node(at).store.transaction({ intent }))?.state === "failed";
      await cluster.until(
        async () => (await isPublished()) || (await isDisplaced()),
        PAYMENT_LIMIT_MS,
        () => "a payment is not published",
      );
      if (await isPublished()) return;
      await sleep(AGAIN_MS);
    } catch (error) {
      const held = isCairnError(error, "coin-reserved") || isCairnError(error, "insufficient-funds");
      if (!held) throw error;
      await sleep(AGAIN_MS);
    }
  }
}

/** Bytes that live JavaScript objects take, after full collections that also ran what they let go of. */
async function heapInUse(): Promise<number> {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect !== "function") throw new TypeError("this engine gives no way to collect garbage");
  for (let round = 0; round < 5; round += 1) {
    collect();
    await sleep(100);
  }
  return process.memoryUsage().heapUsed;
}
