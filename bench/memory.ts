import { ClusterOwner, startCluster, until } from "@cairn/devnet";
import { ask } from "./ask.ts";
import type { Plan } from "./plan.ts";
import type { Entry } from "./report.ts";
import { spreadOf } from "./spread.ts";

const LANES = 8;
const LIMIT_MS = 240_000;
const COINS = 64;
const COIN_SATS = 100_000_000n;
const PAID_SATS = 10_000n;
const BLOCK_EVERY = 20;
const MOST = 1.2;
const MEBIBYTE = 1024 * 1024;

/** Resident memory of five daemons after many FROST payments, each requested, voted on, signed and broadcast, beside that after the first of them. */
export async function memory(plan: Plan): Promise<readonly Entry[]> {
  const cluster = await startCluster({ level: "reduced", settings: { chain: { poll_ms: 1_000 } } });
  try {
    const owner = new ClusterOwner(cluster);
    const { chain, faucet } = cluster.chain;
    const wallet = await owner.wallet(await owner.requestKey("frost", "memory"), LIMIT_MS);
    for (let coin = 0; coin < COINS; coin += 1) owner.fund(wallet, [0, 0], COIN_SATS);
    await until(
      async () => (await owner.balances(wallet)).every(({ confirmedSats }) => confirmedSats > 0n) || null,
      { timeoutMs: LIMIT_MS, describe: () => "the nodes do not see the deposits" },
    );
    const [few, many] = plan.transactions;
    let begun = 0;
    let paid = 0;
    const payUntil = async (count: number) => {
      await Promise.all(
        Array.from({ length: LANES }, async (_, lane) => {
          while (begun < count) {
            begun += 1;
            const recipient = { address: faucet.address, amountSats: PAID_SATS };
            const txid = await ask(owner, (lane % 5) + 1, wallet, recipient);
            await until(() => (chain.transaction(txid) === undefined ? null : true), {
              timeoutMs: LIMIT_MS,
              describe: () => `payment ${paid} is not published`,
              everyMs: 10,
            });
            paid += 1;
            if (paid % BLOCK_EVERY === 0) faucet.mine(1);
          }
        }),
      );
      return Promise.all(cluster.running.map(({ index }) => cluster.rssBytes(index)));
    };
    const [early, late] = [await payUntil(few), await payUntil(many)];
    return [
      {
        section: "memory of a node in use",
        what: `after ${many} payments`,
        partner: `after ${few}`,
        ratio: spreadOf(late.map((size, at) => size / (early[at] ?? Number.NaN))),
        target: { most: MOST },
        note: `${inMebibytes(early)} MiB, then ${inMebibytes(late)} MiB${many < 10_000 ? "; the target is meant for 10,000" : ""}`,
      },
    ];
  } finally {
    await cluster.close();
  }
}

function inMebibytes(sizes: readonly number[]): string {
  return sizes.map((size) => Math.round(size / MEBIBYTE)).join(", ");
}
