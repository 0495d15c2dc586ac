import { rm, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { KeyView, TransactionDetail } from "@cairn/client";
import { type KeyId, systemClock, systemRandom, type Txid } from "@cairn/core";
import { openEtcdCoordination } from "@cairn/storage/etcd";
import { z } from "zod";
import { checkPayment } from "./cluster/check-payment.ts";
import {
  type Cluster,
  type ClusterCoordination,
  type ClusterStorage,
  startCluster,
} from "./cluster/cluster.ts";
import { ClusterOwner, type OwnedWallet, type Recipient, unpaidEnds } from "./cluster/cluster-owner.ts";
import type { EngineLevel } from "./cluster/node-process.ts";
import { until } from "./cluster/until.ts";
import { type DemoReport, type DemoTransaction, demoTransaction } from "./demo-report.ts";
import { Progress, type ProgressStream } from "./progress.ts";

export interface DemoOptions {
  /** Ends when all is shown; otherwise the cluster stays up until `signal`. */
  readonly once: boolean;
  /** Where `demo.json` goes. */
  readonly report: string;
  readonly out: ProgressStream;
  /** Ends the demo, wherever it is. */
  readonly signal: AbortSignal;
  /** Where nodes keep their state; default `sqlite`. */
  readonly storage?: ClusterStorage;
  /** Where nodes show the cluster; default `none`. */
  readonly coordination?: ClusterCoordination;
  /** Default `full`; `reduced` is for tests. */
  readonly level?: EngineLevel;
}

const TOTAL = 5;
const MINUTE_MS = 60_000;
/** Life of the request that two missing nodes must leave unsigned. */
const REFUSAL_MS = 15_000;
/** How long after its expiry nothing may appear either. */
const AFTERMATH_MS = 3_000;
/** Blocks come by themselves once the demo is over and the cluster stays up. */
const BLOCK_MS = 10_000;

/** Short times, since the chain is local; two native threads a node, since five nodes share one machine. */
const settings = {
  api: { rate_per_minute: 6_000 },
  chain: { poll_ms: 1_000 },
  consensus: { recheck_ms: 300 },
  signing: { threads: 2 },
  presignatures: { target: 10, refill_below: 10, batch: 2, check_ms: 5_000 },
};

/**
 * Five nodes on this machine, from nothing to confirmed payments of both kinds, then with one node and with two nodes missing.
 * Every claim that it prints is checked: payments against the chain by Bitcoin Core's interpreter, refusals by waiting.
 *
 * @returns what `demo.json` holds
 * @throws Error with the first thing that did not hold; the cluster's processes are ended then
 */
export async function runDemo(options: DemoOptions): Promise<DemoReport> {
  const progress = new Progress(options.out);
  await rm(options.report, { force: true });
  const cluster = await progress.step(
    "start a regtest chain and five nodes, each with its own folder and chain endpoint",
    () =>
      startCluster({
        level: options.level ?? "full",
        nodes: TOTAL,
        settings,
        storage: options.storage ?? "sqlite",
        coordination: options.coordination ?? "none",
      }),
    ({ files }) => `manifest ${files.fingerprint}`,
  );
  try {
    const demo = new Demo(cluster, progress);
    const report = await endedBy(options.signal, () => demo.run());
    await writeFile(options.report, `${JSON.stringify(report, null, 2)}\n`);
    demo.summary(report, options.report);
    if (!options.once) await demo.stayUp(options.signal);
    return report;
  } catch (error) {
    if (!options.signal.aborted) showTroubles(cluster, progress);
    throw error;
  } finally {
    await cluster.close();
  }
}

class Demo {
  readonly #cluster: Cluster;
  readonly #owner: ClusterOwner;
  readonly #progress: Progress;
  readonly #paid: DemoTransaction[] = [];

  constructor(cluster: Cluster, progress: Progress) {
    this.#cluster = cluster;
    this.#owner = new ClusterOwner(cluster);
    this.#progress = progress;
  }

  async run(): Promise<DemoReport> {
    const { client } = this.#cluster.node(1);
    const { primes } = await client.call("getClusterStatus", {});
    const frost = await this.#key(
      "FROST key, for P2TR addresses",
      await this.#owner.requestKey("frost", "savings"),
    );
    this.#progress.say(
      `   each node searches ${primes.target} safe primes for its ECDSA share; node 1 had ${primes.ready} at first`,
    );
    const ecdsa = await this.#key(
      "ECDSA key (CGGMP24), for P2WPKH addresses",
      await this.#owner.requestKey("cggmp24", "spending"),
    );
    await this.#fund("FROST", frost, 2_000_000n);
    await this.#fund("ECDSA", ecdsa, 2_000_000n);
    await this.#stock(ecdsa);

    await this.#pay("pay one recipient from the FROST key", "frost", frost, [this.#recipient(250_000n)], 1);
    await this.#pay(
      "pay two recipients from the ECDSA key",
      "ecdsa",
      ecdsa,
      [this.#recipient(300_000n), this.#recipient(125_000n)],
      2,
    );
    const nodes = await this.#processes();

    await this.#progress.step("stop node 5", async () => {
      await this.#cluster.stop(5);
      await this.#cluster.meshed();
    });
    await this.#pay("pay from the FROST key with four nodes", "frost", frost, [this.#recipient(100_000n)], 3);
    await this.#pay("pay from the ECDSA key with four nodes", "ecdsa", ecdsa, [this.#recipient(100_000n)], 4);

    await this.#progress.step("stop node 4 too", async () => {
      await this.#cluster.stop(4);
      await this.#cluster.meshed();
    });
    const refused = await this.#progress.step(
      "ask for a payment with three nodes",
      () => this.#refused(frost),
      (held) => (held ? "nothing was signed" : "IT WAS SIGNED"),
    );
    await this.#progress.step("start nodes 4 and 5 again", async () => {
      await Promise.all([this.#cluster.start(4), this.#cluster.start(5)]);
      await this.#cluster.meshed();
    });
    const { etcd } = this.#cluster;
    if (etcd !== null) {
      await this.#progress.step(
        "read the cluster in etcd",
        () => this.#shown(etcd.endpoints),
        (text) => text,
      );
    }
    if (!refused) throw new Error("three nodes signed; four must agree");
    return { transactions: this.#recount(), refusedWithTwoNodesDown: refused, nodes };
  }

  summary(report: DemoReport, path: string): void {
    const { say } = this.#progress;
    const lines = report.transactions.map(({ keyType, txid, signers, confirmations, timingsMs }) => {
      const times = Object.entries(timingsMs)
        .sort(([, a], [, b]) => a - b)
        .map(([stage, ms]) => `${stage} ${ms} ms`);
      return `  ${keyType.padEnd(5)} ${txid}\n        signers ${signers.join(" ")}, ${confirmations} confirmations, ${times.join(", ")}`;
    });
    say.call(
      this.#progress,
      `\nConfirmed:\n${lines.join("\n")}\nWith two nodes down nothing was signed.\nReport: ${path}`,
    );
  }

  /** Keeps the cluster for people to play with; a block comes every ten seconds. */
  async stayUp(signal: AbortSignal): Promise<void> {
    const { chain, files, indices } = this.#cluster;
    const nodes = indices.map((index) => this.#cluster.node(index));
    this.#progress.say(
      [
        "",
        ...nodes.map((node) => `node ${node.index}   ${node.api}   chain ${node.chain}`),
        `token    ${files.tokens.admin}`,
        `files    ${files.dir} (cairn --config ${files.cliConfig})`,
        `faucet   curl -X POST ${chain.endpoints[0]?.url}/devnet/faucet -H 'content-type: application/json' -d '{"address": "bcrt1…", "amountSats": 100000}'`,
        `The cluster stays up at ${nodes[0]?.api}; a block comes every ${BLOCK_MS / 1000} s. Ctrl-C ends it.`,
      ].join("\n"),
    );
    while (!signal.aborted) {
      await sleep(BLOCK_MS, undefined, { signal }).catch(() => {});
      if (!signal.aborted) chain.faucet.mine(1);
    }
  }

  /** Waits until the nodes show themselves and all payments to whoever reads etcd. */
  async #shown(endpoints: readonly string[]): Promise<string> {
    const prefix = `/cairn/${this.#cluster.manifest.cluster}`;
    const modules = { clock: systemClock, random: systemRandom, report: () => {} };
    const view = openEtcdCoordination(
      { endpoints, prefix, timeoutMs: 5_000, termMs: 5_000, tls: null, user: null },
      modules,
    );
    try {
      return await until(
        async () => {
          const peers = await view.list("/peers/");
          const states = await Promise.all(this.#paid.map(({ txid }) => view.get(`/tx/${txid}/state`)));
          const confirmed = states.filter((entry) => entry?.value === "confirmed").length;
          if (peers.length < TOTAL || confirmed < states.length) return null;
          return `${peers.length} nodes up, ${confirmed} payments confirmed, under ${prefix}/shared`;
        },
        { timeoutMs: MINUTE_MS, describe: () => "etcd does not show all nodes and payments", everyMs: 500 },
      );
    } finally {
      await view.close();
    }
  }

  #key(title: string, keyId: KeyId): Promise<OwnedWallet> {
    return this.#progress.step(
      title,
      (detail) => this.#owner.wallet(keyId, 8 * MINUTE_MS, (key) => detail(stageText(key))),
      (wallet) => this.#owner.address(wallet, [0, 0]),
    );
  }

  async #fund(kind: string, wallet: OwnedWallet, amountSats: bigint): Promise<void> {
    await this.#progress.step(`deposit ${amountSats} sat at the ${kind} wallet`, async () => {
      this.#owner.fund(wallet, [0, 0], amountSats);
      await until(
        async () =>
          (await this.#owner.balances(wallet)).every((balance) => balance.confirmedSats === amountSats)
            ? true
            : null,
        { timeoutMs: MINUTE_MS, describe: () => "not all nodes see the deposit", everyMs: 500 },
      );
    });
  }

  /** Waits until the deposit's signature is half made at t nodes; stock for other signers follows by itself. */
  async #stock(wallet: OwnedWallet): Promise<void> {
    const { threshold } = this.#cluster.manifest;
    await this.#progress.step("nodes make presignatures for the ECDSA deposit", (detail) =>
      until(
        async () => {
          const stocked = await this.#owner.nodesStocked(wallet, [0, 0]);
          detail(`ready at ${stocked} nodes`);
          return stocked >= threshold ? stocked : null;
        },
        { timeoutMs: 3 * MINUTE_MS, describe: () => "no presignature became ready", everyMs: 500 },
      ),
    );
  }

  async #pay(
    title: string,
    keyType: DemoTransaction["keyType"],
    wallet: OwnedWallet,
    recipients: readonly Recipient[],
    at: number,
  ): Promise<void> {
    const seen = await this.#progress.step(
      title,
      async (detail) => {
        const txid = await this.#owner.submit(at, this.#owner.spendRequest(wallet, recipients));
        detail(`node ${at} took the request`);
        await this.#owner.published(txid, 2 * MINUTE_MS);
        detail("published");
        this.#cluster.chain.faucet.mine(1);
        const views = await this.#owner.confirmed(txid, MINUTE_MS);
        return this.#agreed(views);
      },
      ({ txid, signers }) => `${txid}, signed by nodes ${signers.join(" ")}`,
    );
    const checked = checkPayment({ ...seen, recipients, network: "regtest" }, this.#cluster.chain.chain);
    this.#progress.say(
      `   Bitcoin Core's script checks accept it; ${recipients.length} recipient(s) paid, fee ${checked.feeSats} sat`,
    );
    this.#paid.push(demoTransaction(keyType, seen, checked));
  }

  /** What all nodes say of one confirmed transaction: alike, and signed by t of them. */
  #agreed(
    views: readonly TransactionDetail[],
  ): Pick<DemoTransaction, "rawTx" | "signers" | "timingsMs"> & { txid: Txid } {
    const [first] = views;
    if (first?.rawTx == null) throw new Error("a node shows no signed transaction");
    const { rawTx } = first;
    if (views.some((view) => view.rawTx !== rawTx))
      throw new Error("nodes show different signed transactions");
    const signers = [...(views.find((view) => view.signers.length > 0)?.signers ?? [])].sort((a, b) => a - b);
    if (signers.length !== this.#cluster.manifest.threshold)
      throw new Error(`the transaction names ${signers.length} signers`);
    return { txid: first.txid as Txid, rawTx, signers, timingsMs: first.timingsMs };
  }

  /** Whether a request that three nodes get ends without a signature at any of them, and nothing is published. */
  async #refused(wallet: OwnedWallet): Promise<boolean> {
    const expiry = Date.now() + REFUSAL_MS;
    const signed = this.#owner.spendRequest(wallet, [this.#recipient(50_000n)], {
      expiry: expiry as ReturnType<ClusterOwner["spendRequest"]>["body"]["expiry"],
    });
    const txid = await this.#owner.submit(1, signed);
    while (Date.now() < expiry + AFTERMATH_MS) {
      const views = await this.#owner.views(txid);
      if (views.some(({ view }) => view?.rawTx != null)) return false;
      if (this.#cluster.chain.chain.transaction(txid) !== undefined) return false;
      await sleep(250);
    }
    const views = await this.#owner.views(txid);
    const over = views.every(({ view }) => view !== null && unpaidEnds.includes(view.state));
    if (!over) {
      const states = views.map(({ node, view }) => `node ${node}: ${view?.state ?? "unknown"}`);
      throw new Error(`the request did not end by its expiry: ${states.join(", ")}`);
    }
    return true;
  }

  /** Confirmations as they are now, at the end. */
  #recount(): DemoTransaction[] {
    const { chain } = this.#cluster.chain;
    return this.#paid.map((paid) => {
      const found = chain.confirmation(paid.txid as Txid);
      if (found === undefined) throw new Error(`${paid.txid} is not confirmed`);
      return { ...paid, confirmations: chain.tip.height - found.block.height + 1 };
    });
  }

  #processes(): Promise<DemoReport["nodes"]> {
    return Promise.all(
      this.#cluster.running.map(async ({ index, pid }) => ({
        index,
        pid,
        rssBytes: await this.#cluster.rssBytes(index),
      })),
    );
  }

  /** Pays back to the faucet: an address that no node knows. */
  #recipient(amountSats: bigint): Recipient {
    return { address: this.#cluster.chain.faucet.address, amountSats };
  }
}

function stageText({ stage, progress }: KeyView): string {
  return progress === null ? (stage ?? "") : `${stage} ${Math.round(progress * 100)} %`;
}

/** What `work` gives, or a rejection as soon as `signal` aborts. */
async function endedBy<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work(), promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** What the nodes complained of last, for whoever looks for the cause. */
function showTroubles(cluster: Cluster, progress: Progress): void {
  for (const index of cluster.indices) {
    const lines = cluster.logs(index).filter(({ level }) => level === "warn" || level === "error");
    for (const { time, message, error } of lines.slice(-3)) {
      const cause = troubleSchema.safeParse(error);
      progress.say(`node ${index} at ${time}: ${message}${cause.success ? `: ${cause.data.message}` : ""}`);
    }
  }
}

const troubleSchema = z.looseObject({ message: z.string() });
