import { setTimeout as sleep } from "node:timers/promises";
import type { NodeIndex } from "@cairn/core";
import { ClusterOwner, startCluster, until } from "@cairn/devnet";
import { ask } from "./ask.ts";
import { mandatoryWork } from "./box-floor.ts";
import { COMMITS, rounds } from "./floor.ts";
import type { Entry } from "./report.ts";
import { spreadOf } from "./spread.ts";

const SECTION = "work of a FROST payment, all five nodes";
const WARM = 3;
const PAYMENTS = 10;
const COIN_SATS = 100_000n;
const LIMIT_MS = 240_000;
/** Certificates, signatures and receipts that are told in a while are the payment's as well. */
const AFTERWARDS_MS = 2_500;

/** How often daemons seal, sign, verify and write for one payment, beside what none of them can leave out. Counts know no noise of machines. */
export async function work(): Promise<readonly Entry[]> {
  const reports = new Map<NodeIndex, Readonly<Record<string, number>>>();
  const before = process.env.NODE_OPTIONS;
  process.env.NODE_OPTIONS = `--import=${new URL("work-counter.ts", import.meta.url).href}`;
  const signed = new Map<unknown, number>();
  const cluster = await startCluster({
    level: "reduced",
    log: (node, line) => {
      if (line.message === "work") reports.set(node, line.counts as Readonly<Record<string, number>>);
      if (line.message === "transaction" && line.state === "signed")
        signed.set(line.subject, (signed.get(line.subject) ?? 0) + 1);
    },
  });
  process.env.NODE_OPTIONS = before ?? "";
  try {
    const owner = new ClusterOwner(cluster);
    const wallet = await owner.wallet(await owner.requestKey("frost", "work"), LIMIT_MS);
    for (let coin = 0; coin < WARM + PAYMENTS; coin += 1)
      cluster.chain.faucet.pay(owner.address(wallet, [0, 0]), COIN_SATS);
    cluster.chain.faucet.mine(1);
    const wanted = BigInt(WARM + PAYMENTS) * COIN_SATS;
    await until(
      async () =>
        (await owner.balances(wallet)).every(({ confirmedSats }) => confirmedSats === wanted) || null,
      { timeoutMs: LIMIT_MS, describe: () => "not all nodes see the deposits", everyMs: 500 },
    );
    const taken = async () => {
      await sleep(AFTERWARDS_MS);
      reports.clear();
      for (const { pid } of cluster.running) process.kill(pid, "SIGUSR2");
      await until(() => reports.size === cluster.running.length || null, {
        timeoutMs: LIMIT_MS,
        describe: () => `${reports.size} nodes said what they did`,
      });
    };
    const pay = async (at: number) => {
      const to = { address: cluster.chain.faucet.address, amountSats: 20_000n };
      const txid = await ask(owner, (at % cluster.running.length) + 1, wallet, to);
      await until(() => (signed.get(txid) === cluster.running.length ? true : null), {
        timeoutMs: LIMIT_MS,
        describe: () => `${signed.get(txid) ?? 0} nodes hold the signatures`,
        everyMs: 50,
      });
    };
    for (let at = 0; at < WARM; at += 1) await pay(at);
    await taken();
    for (let at = 0; at < PAYMENTS; at += 1) await pay(at);
    await taken();
  } finally {
    await cluster.close();
  }
  const each = new Map<string, number>();
  for (const counts of reports.values())
    for (const [name, count] of Object.entries(counts))
      each.set(name, (each.get(name) ?? 0) + count / PAYMENTS);
  const of = (name: string) => each.get(name) ?? 0;
  const list = (names: readonly string[]) => names.map((name) => `${name} ${of(name).toFixed(1)}`).join(", ");
  const kinds = [...each.keys()].filter((name) => name.startsWith("message ")).toSorted();
  const least = mandatoryWork(rounds.frost, COMMITS);
  const figure = (what: string, done: number, mandatory: number, note: string): Entry => ({
    section: SECTION,
    what,
    partner: `${mandatory} that none can leave out`,
    ratio: spreadOf([done / mandatory]),
    target: null,
    note,
  });
  const messages = list(kinds).replaceAll("message ", "");
  return [
    figure("envelopes", of("sealed"), least.envelopes, `${of("sealed").toFixed(1)}: ${messages}`),
    figure("signatures made", of("signed"), least.envelopes + least.signed, list(["signed"])),
    figure("signatures verified", of("verified"), least.envelopes + least.verified, list(["verified"])),
    figure("commits", of("commits"), least.commits, list(["commits", "queries"])),
    figure("encodings", of("encoded"), 2 * least.envelopes, list(["encoded", "decoded", "shapes checked"])),
  ];
}
