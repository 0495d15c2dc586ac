import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import { isCairnError, type Sats, systemClock, type UnixMs, type WalletRecord } from "@cairn/core";
import { openSqliteStore } from "@cairn/storage";
import { InProcessCluster } from "../packages/node/test/in-process/cluster.ts";
import type { Plan } from "./plan.ts";
import type { Entry } from "./report.ts";
import { spreadOf } from "./spread.ts";

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

/**
 * What payments leave in memory: the nodes' own code over stores in files, five in one process, with the network and the chain in memory too.
 * All that their heap still holds when everything is settled and all garbage is collected.
 */
export async function growth(plan: Plan): Promise<readonly Entry[]> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-bench-"));
  const patient = { ackMs: 60_000, startMs: 60_000, roundMs: 60_000, sessionMs: 240_000 };
  const cluster = await InProcessCluster.start({
    openStore: (node, id) =>
      openSqliteStore({ path: join(folder, `${node}.db`), cluster: id, node }, { clock: systemClock }),
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
    const payUntil = async (count: number): Promise<number> => {
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
      return heapInUse();
    };
    const early = await payUntil(few);
    const late = await payUntil(many);
    const each = (late - early) / (many - few) / cluster.nodes.size;
    return [
      {
        section: "memory of a node in use",
        what: `heap in use after ${many} payments, five nodes and the chain in one process`,
        partner: `after ${few}`,
        ratio: spreadOf([late / early]),
        target: null,
        note: `${(early / MEGABYTE).toFixed(1)} MB, then ${(late / MEGABYTE).toFixed(1)} MB: ${each.toFixed(0)} bytes a payment and node`,
      },
    ];
  } finally {
    await cluster.close();
    await rm(folder, { recursive: true, force: true });
  }
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
      const { txid } = await cluster.node(at).runtime.submit(signed.body, signed.signature);
      return await cluster.until(
        async () => (await cluster.chain.transactionStatus(txid)).state !== "unknown",
        PAYMENT_LIMIT_MS,
        () => "a payment is not published",
      );
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
