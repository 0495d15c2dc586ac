import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { NodeIndex } from "@cairn/core";
import { type Cluster, ClusterOwner, type OwnedWallet, startCluster, until } from "@cairn/devnet";
import { ask } from "./ask.ts";
import type { Floor, PaymentKind } from "./floor.ts";
import type { Plan } from "./plan.ts";
import type { Entry } from "./report.ts";
import { median, over, spreadOf } from "./spread.ts";

const SECTION = "request → verified signature, five daemons, reduced level for ECDSA";
const COIN_SATS = 100_000n;
const PAID_SATS = 20_000n;
const PAYMENT_LIMIT_MS = 120_000;
const KEY_LIMIT_MS = 240_000;
const STOCK_LIMIT_MS = 240_000;
const QUIET_LIMIT_MS = 90_000;
const MOST_STOCKED = 4;
const MINUTE_MS = 60_000;
/** Share of a core below which a cluster counts as quiet. */
const QUIET = 0.2;

/** States of a spend, as the daemons log them with the clock of this machine. */
type Times = ReadonlyMap<string, number>;

interface Payment {
  /** Milliseconds from the request's sending until some node held the verified signature. */
  readonly signedMs: number;
  readonly stages: Times;
}

/**
 * From a request at one node's REST API to a verified signature: five daemons on this machine, beside the floor of what its messages, its
 * threshold cryptography and its durable writes take alone.
 */
export async function payments(
  kind: PaymentKind,
  plan: Plan,
  floor: Floor,
  cores: number,
): Promise<readonly Entry[]> {
  const bench = await PaymentBench.open(plan, floor, cores, kind === "ecdsaStocked" ? 10_000 : 0);
  try {
    return await bench[kind]();
  } finally {
    await bench.close();
  }
}

class PaymentBench {
  readonly #plan: Plan;
  readonly #floor: Floor;
  readonly #cores: number;
  readonly #cluster: Cluster;
  readonly #owner: ClusterOwner;
  /** When each state of each transaction was first seen at any node, milliseconds since the epoch. */
  readonly #seen: Map<string, Map<string, number>>;

  private constructor(
    plan: Plan,
    floor: Floor,
    cores: number,
    cluster: Cluster,
    seen: Map<string, Map<string, number>>,
  ) {
    this.#plan = plan;
    this.#floor = floor;
    this.#cores = cores;
    this.#cluster = cluster;
    this.#owner = new ClusterOwner(cluster);
    this.#seen = seen;
  }

  /** @param stock presignatures wanted for a key */
  static async open(plan: Plan, floor: Floor, cores: number, stock: number): Promise<PaymentBench> {
    const seen = new Map<string, Map<string, number>>();
    const cluster = await startCluster({
      level: "reduced",
      settings: {
        chain: { poll_ms: 2_000 },
        presignatures: { target: stock, refill_below: stock, check_ms: 5_000 },
      },
      log: (_node: NodeIndex, { message, subject, state, time }) => {
        if (message !== "transaction" || typeof subject !== "string" || typeof state !== "string") return;
        const at = Date.parse(String(time));
        const states = seen.get(subject) ?? new Map<string, number>();
        states.set(state, Math.min(at, states.get(state) ?? at));
        seen.set(subject, states);
      },
    });
    return new PaymentBench(plan, floor, cores, cluster, seen);
  }

  close(): Promise<void> {
    return this.#cluster.close();
  }

  /** FROST at real parameters, from a cold start each: it has no stock. */
  async frost(): Promise<readonly Entry[]> {
    const { paymentsCold, atOnce } = this.#plan;
    const wallet = await this.#wallet("frost");
    await this.#coins(wallet, 2 * paymentsCold + 8 + atOnce.reduce((total, count) => total + count, 0));
    const entries: Entry[] = [...this.#figures("FROST", await this.#oneByOne(wallet, paymentsCold))];
    for (const count of atOnce)
      entries.push(...this.#figures(`FROST, ${count} at once`, await this.#atOnce(wallet, count)));
    entries.push(await this.#sustained(wallet));
    await this.#cluster.stop(5);
    const paid = await this.#oneByOne(wallet, paymentsCold);
    return [...entries, ...this.#figures("FROST, one node down", paid)];
  }

  /** ECDSA from presignatures. */
  async ecdsaStocked(): Promise<readonly Entry[]> {
    const count = this.#plan.paymentsStocked;
    const wallet = await this.#wallet("cggmp24");
    await this.#coins(wallet, count + 8);
    await this.#stocked(wallet, count + 8);
    const alone = this.#figures("ECDSA, stocked", await this.#oneByOne(wallet, count));
    return [...alone, ...this.#figures("ECDSA, stocked, 8 at once", await this.#atOnce(wallet, 8))];
  }

  /** ECDSA by the full protocol, with the stock switched off. */
  async ecdsaCold(): Promise<readonly Entry[]> {
    const count = this.#plan.paymentsCold;
    const wallet = await this.#wallet("cggmp24");
    await this.#coins(wallet, count);
    return this.#figures("ECDSA, no stock", await this.#oneByOne(wallet, count));
  }

  async #wallet(protocol: "frost" | "cggmp24"): Promise<OwnedWallet> {
    return this.#owner.wallet(await this.#owner.requestKey(protocol, `bench ${protocol}`), KEY_LIMIT_MS);
  }

  /** Confirmed coins, one for each payment, that every node sees. */
  async #coins(wallet: OwnedWallet, count: number): Promise<void> {
    const { faucet } = this.#cluster.chain;
    const address = this.#owner.address(wallet, [0, 0]);
    for (let coin = 0; coin < count; coin += 1) {
      faucet.pay(address, COIN_SATS);
      if (coin % 20 === 19) faucet.mine(1);
    }
    faucet.mine(1);
    const wanted = BigInt(count) * COIN_SATS;
    await until(
      async () =>
        (await this.#owner.balances(wallet)).every(({ confirmedSats }) => confirmedSats === wanted) || null,
      { timeoutMs: MINUTE_MS, describe: () => "not all nodes see the deposits", everyMs: 500 },
    );
  }

  /** Waits until as many presignatures as payments are ready at every node, for each choice of signers. */
  async #stocked(wallet: OwnedWallet, payments: number): Promise<void> {
    const { keyId } = wallet.record;
    let least = 0;
    await until(
      async () => {
        const counts = await Promise.all(
          this.#cluster.running.map(async ({ client }) => {
            const { presignatures } = await client.call("listPresignatures", {
              query: { keyId, state: "ready" },
            });
            return presignatures.length;
          }),
        );
        least = Math.min(...counts);
        return least >= 2 * payments ? true : null;
      },
      {
        timeoutMs: STOCK_LIMIT_MS,
        describe: () => `${least} presignatures are ready, ${2 * payments} are wanted`,
        everyMs: 2_000,
      },
    );
  }

  /** Waits until the daemons have nothing left to do, so that a payment is measured alone. */
  async #quiet(): Promise<void> {
    const spent = async () => {
      const each = await Promise.all(this.#cluster.running.map(({ pid }) => processorSeconds(pid)));
      return each.reduce((total, seconds) => total + seconds, 0);
    };
    const end = performance.now() + QUIET_LIMIT_MS;
    for (;;) {
      const [before, began] = [await spent(), performance.now()];
      await sleep(1_000);
      const share = ((await spent()) - before) / ((performance.now() - began) / 1_000);
      if (share < QUIET) return;
      if (performance.now() > end) throw new Error(`the daemons never rest: ${share.toFixed(2)} cores`);
    }
  }

  async #oneByOne(wallet: OwnedWallet, count: number): Promise<Payment[]> {
    const paid: Payment[] = [];
    for (let at = 0; at < count; at += 1) {
      await this.#quiet();
      paid.push(await this.#pay(wallet, at));
    }
    return paid;
  }

  async #atOnce(wallet: OwnedWallet, count: number): Promise<Payment[]> {
    await this.#quiet();
    // All at one node: of several that pick coins at one time some may pick the same, and one of their owners would have to ask again.
    return Promise.all(Array.from({ length: count }, () => this.#pay(wallet, 0)));
  }

  /** One payment; requests go to the nodes that run in turn. */
  async #pay(wallet: OwnedWallet, at: number): Promise<Payment> {
    const { running, chain } = this.#cluster;
    const node = running[at % running.length]?.index ?? 1;
    const recipient = { address: chain.faucet.address, amountSats: PAID_SATS };
    const began = Date.now();
    const txid = await ask(this.#owner, node, wallet, recipient);
    const answered = Date.now();
    const states = await until(
      () => {
        const states = this.#seen.get(txid);
        return states?.has("signed") && states.has("broadcasting") ? states : null;
      },
      {
        timeoutMs: PAYMENT_LIMIT_MS,
        describe: () => `the payment got to ${[...(this.#seen.get(txid)?.keys() ?? [])].join(", ")}`,
        everyMs: 20,
      },
    );
    const stages = new Map([...states].map(([state, time]) => [state, time - began] as const));
    stages.set("answered", answered - began);
    return { signedMs: stages.get("signed") ?? Number.NaN, stages };
  }

  /** Beside the floor of one payment on machines of its nodes' own, and beside what five nodes on this one cannot go below. */
  #figures(what: string, paid: readonly Payment[]): readonly Entry[] {
    const floor = this.#floor;
    const times = paid.map(({ signedMs }) => signedMs);
    const spread = spreadOf(times);
    const names = [...new Set(paid.flatMap(({ stages }) => [...stages.keys()]))];
    const stages = names
      .map((name) => [name, median(paid.flatMap(({ stages }) => stages.get(name) ?? []))] as const)
      .sort(([, a], [, b]) => a - b);
    const steps = stages.map(([name, ms]) => `${name} ${ms.toFixed(0)}`).join(", ");
    const { box } = floor;
    const beside: Entry = {
      section: SECTION,
      what,
      partner: `floor ${floor.totalMs.toFixed(1)} ms: ${floor.hops} hops of ${(floor.roundTripMs / 2).toFixed(2)}, ${floor.commits} writes of ${floor.commitMs.toFixed(2)}, cryptography ${floor.cryptographyMs.toFixed(1)}`,
      ratio: over(times, floor.totalMs),
      target: what === "ECDSA, stocked" ? { most: MOST_STOCKED } : null,
      note: `p50 ${spread.median.toFixed(0)} ms, p99 ${spread.p99.toFixed(0)} ms; first seen at ms: ${steps}`,
      details: { floor, stages: Object.fromEntries(stages), times },
    };
    const onOneBox: Entry = {
      section: SECTION,
      what: `${what}, beside the work of five nodes`,
      partner: `${box.totalMs.toFixed(1)} ms on ${box.cores} cores: ${box.envelopes} envelopes of ${box.envelopeMs.toFixed(2)}, ${box.signed} signatures of ${box.signMs.toFixed(2)}, ${box.verified} checks of ${box.verifyMs.toFixed(2)}, ${box.commits} writes of ${box.commitMs.toFixed(2)}, cryptography ${box.cryptographyMs.toFixed(1)}`,
      ratio: over(times, box.totalMs),
      target: null,
      note: "processor time of what no node can leave out, spread evenly over the cores",
    };
    return [beside, onOneBox];
  }

  /** Eight payments under way at all times, from coins and their own change. */
  async #sustained(wallet: OwnedWallet): Promise<Entry> {
    await this.#quiet();
    const { sustainedMs } = this.#plan;
    const before = await this.#processor();
    const began = performance.now();
    let signed = 0;
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        while (performance.now() - began < sustainedMs) {
          await this.#pay(wallet, 0);
          signed += 1;
        }
      }),
    );
    const minutes = (performance.now() - began) / MINUTE_MS;
    const busyMs = ((await this.#processor()) - before) * 1_000;
    const perMinute = signed / minutes / this.#cores;
    const bound = MINUTE_MS / this.#floor.cryptographyMs / this.#cores;
    return {
      section: SECTION,
      what: "FROST, sustained, signatures a minute and core",
      partner: "threshold cryptography alone",
      ratio: spreadOf([perMinute / bound]),
      target: null,
      note: `${perMinute.toFixed(0)} a minute and core [reference 200 with a stocked pool]; ${(busyMs / signed).toFixed(0)} ms of processor time each, over five daemons`,
      details: { signed, minutes, busyMs },
    };
  }

  async #processor(): Promise<number> {
    const each = await Promise.all(this.#cluster.running.map(({ pid }) => processorSeconds(pid)));
    return each.reduce((total, seconds) => total + seconds, 0);
  }
}

/** Clock ticks a second in /proc (USER_HZ), which Linux fixes for programs. */
const TICKS = 100;

/** Processor time that a process has used, in seconds. */
export async function processorSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}
