import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import { type IntentHash, type NodeStore, type Sats, systemClock, type UnixMs } from "@cairn/core";
import { openSqliteStore } from "@cairn/storage";
import { openPostgresStore } from "@cairn/storage/postgres";
import { PostgresServer } from "@cairn/storage/test-support";
import { InProcessCluster, type InProcessClusterOptions } from "../packages/node/test/in-process/cluster.ts";
import type { Entry } from "./report.ts";
import { median, over } from "./spread.ts";

const PAYMENTS = 12;
const COIN_SATS = 1_000_000n;
const RECIPIENT = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const LIMIT_MS = 120_000;
const WRITES = 100;
const VALUE = new Uint8Array(600).fill(1);

type OpenStore = NonNullable<InProcessClusterOptions["openStore"]>;

/**
 * From the moment at which a node begins to store its own vote to that at which the certificate is durable there, in multiples of one commit:
 * five nodes in one process, which share its one thread.
 */
export async function certificate(): Promise<readonly Entry[]> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-bench-"));
  const server = await PostgresServer.create();
  const modules = { clock: systemClock };
  try {
    const sqlite: OpenStore = (node, cluster) =>
      openSqliteStore({ path: join(folder, `${node}.db`), cluster, node }, modules);
    const postgres: OpenStore = async (node, cluster) => {
      const database = `node${node}`;
      await server.createDatabase(database);
      const location = { host: server.host, port: server.port, user: "cairn", database, tls: null };
      return openPostgresStore({ location, password: async () => "secret", cluster, node }, modules);
    };
    return [await measured("sqlite", sqlite), await measured("Postgres", postgres)];
  } finally {
    await server.remove();
    await rm(folder, { recursive: true, force: true });
  }
}

async function measured(name: string, open: OpenStore): Promise<Entry> {
  const begun = new Map<string, number>();
  const taken = new Map<string, number>();
  const cluster = await InProcessCluster.start({
    openStore: async (node, id) => watched(await open(node, id), String(node), begun, taken),
  });
  try {
    const wallet = await cluster.makeWallet("frost");
    const [known] = cluster.node(1).runtime.wallets.all();
    if (known === undefined) throw new Error("there is no wallet");
    const { script } = decodeAddress(deriveKey(known.descriptor, [0, 0]).address, "regtest");
    for (let coin = 0; coin < PAYMENTS; coin += 1) cluster.chain.fund(script, COIN_SATS);
    cluster.chain.mine(1);
    for (let at = 0; at < PAYMENTS; at += 1) {
      const outputs = [{ address: RECIPIENT, amountSats: 10_000n as Sats }];
      const expiry = (Date.now() + 10 * LIMIT_MS) as UnixMs;
      const signed = cluster.spendRequest(wallet, { outputs, expiry });
      await cluster.node((at % 5) + 1).runtime.submit(signed.body, signed.signature);
      await cluster.until(
        () => taken.size === (at + 1) * cluster.nodes.size,
        LIMIT_MS,
        () => `${taken.size} certificates are stored`,
      );
    }
    const { store } = cluster.node(1);
    const single: number[] = [];
    for (let at = 0; at < WRITES; at += 1) {
      const began = performance.now();
      await store.commit([{ write: "meta", key: "bench", value: VALUE }]);
      single.push(performance.now() - began);
    }
    return {
      section: "voting",
      what: `from a node's vote to the durable certificate, ${name}`,
      partner: "one commit of the same store",
      ratio: over([...taken.values()], median(single)),
      target: null,
      note: `${median([...taken.values()]).toFixed(1)} ms beside ${median(single).toFixed(2)} ms; five nodes share one thread`,
    };
  } finally {
    await cluster.close();
  }
}

/** The same store, which notes when a commit with the node's own vote on an intent begins and when one with its certificate is done. */
function watched(
  store: NodeStore,
  node: string,
  begun: Map<string, number>,
  taken: Map<string, number>,
): NodeStore {
  const commit = store.commit.bind(store);
  const place = (intent: IntentHash) => `${node} ${intent}`;
  store.commit = async (writes) => {
    for (const each of writes) {
      if (each.write !== "vote" || String(each.row.voter) !== node) continue;
      if (!begun.has(place(each.row.intent))) begun.set(place(each.row.intent), performance.now());
    }
    await commit(writes);
    for (const each of writes) {
      if (each.write !== "transaction" || each.row.certificate === null) continue;
      const key = place(each.row.intent);
      const began = begun.get(key);
      if (began !== undefined && !taken.has(key)) taken.set(key, performance.now() - began);
    }
  };
  return store;
}
