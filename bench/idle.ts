import { setTimeout as sleep } from "node:timers/promises";
import { ClusterOwner, startCluster, until } from "@cairn/devnet";
import { processorSeconds } from "./payments.ts";
import type { Plan } from "./plan.ts";
import type { Entry } from "./report.ts";
import { spreadOf } from "./spread.ts";

const SECTION = "idle node";
const MEGABYTE = 1e6;
const RSS_MOST = 150 * MEGABYTE;
const PROCESSOR_MOST = 0.01;
const COIN_SATS = 1_000_000n;
const PAYMENTS = 4;
const LIMIT_MS = 240_000;
const LOOK_MS = 3_000;
/** Share of a core, for all daemons together, below which a look finds them quiet. */
const QUIET = 0.15;
const QUIET_LOOKS = 5;

/**
 * What a daemon holds and does when there is nothing to do: five of them with an ECDSA and a FROST key (reduced level), stocked, after a few
 * payments. They were started once before, as a daemon in use was: the first start of all compiles the sources.
 */
export async function idle(plan: Plan): Promise<readonly Entry[]> {
  const cluster = await startCluster({ level: "reduced", settings: { chain: { poll_ms: 30_000 } } });
  try {
    for (const index of cluster.indices) await cluster.restart(index);
    await cluster.meshed();
    const owner = new ClusterOwner(cluster);
    for (const protocol of ["frost", "cggmp24"] as const) {
      const wallet = await owner.wallet(await owner.requestKey(protocol, protocol), LIMIT_MS);
      for (let at = 0; at < PAYMENTS; at += 1) owner.fund(wallet, [0, 0], COIN_SATS);
      await until(
        async () =>
          (await owner.balances(wallet)).every(({ confirmedSats }) => confirmedSats >= COIN_SATS) || null,
        { timeoutMs: LIMIT_MS, describe: () => "the nodes do not see the deposit" },
      );
      for (let at = 0; at < PAYMENTS; at += 1) {
        const to = { address: cluster.chain.faucet.address, amountSats: 20_000n };
        const txid = await owner.submit((at % 5) + 1, owner.spendRequest(wallet, [to]));
        await owner.published(txid, LIMIT_MS);
      }
      cluster.chain.faucet.mine(1);
    }
    await rested(cluster.running.map(({ pid }) => pid));
    const began = performance.now();
    const before = await Promise.all(cluster.running.map(({ pid }) => processorSeconds(pid)));
    await sleep(plan.idleMs);
    const seconds = (performance.now() - began) / 1_000;
    const shares = await Promise.all(
      cluster.running.map(
        async ({ pid }, at) => ((await processorSeconds(pid)) - (before[at] ?? 0)) / seconds,
      ),
    );
    const sizes = await Promise.all(cluster.running.map(({ index }) => cluster.rssBytes(index)));
    return [
      {
        section: SECTION,
        what: "resident memory",
        partner: "150 MB",
        ratio: spreadOf(sizes.map((size) => size / RSS_MOST)),
        target: { most: 1 },
        note: `${sizes.map((size) => Math.round(size / MEGABYTE)).join(", ")} MB at five nodes, two keys, ${2 * PAYMENTS} payments`,
      },
      {
        section: SECTION,
        what: "processor time",
        partner: "1 % of a core",
        ratio: spreadOf(shares.map((share) => share / PROCESSOR_MOST)),
        target: { most: 1 },
        note: `${shares.map((share) => (100 * share).toFixed(2)).join(", ")} % over ${Math.round(seconds)} s`,
      },
    ];
  } finally {
    await cluster.close();
  }
}

/** Waits until refilling and following the chain are over: quiet through several looks, since sessions pause between attempts. */
async function rested(pids: readonly number[]): Promise<void> {
  const spent = async () =>
    (await Promise.all(pids.map(processorSeconds))).reduce((total, seconds) => total + seconds, 0);
  let quiet = 0;
  let share = 1;
  await until(
    async () => {
      const before = await spent();
      await sleep(LOOK_MS);
      share = ((await spent()) - before) / (LOOK_MS / 1_000);
      quiet = share < QUIET ? quiet + 1 : 0;
      return quiet === QUIET_LOOKS ? true : null;
    },
    { timeoutMs: LIMIT_MS, describe: () => `the daemons still use ${share.toFixed(2)} cores`, everyMs: 10 },
  );
}
