import {
  type IntentHash,
  type LineageId,
  type Outpoint,
  type Sats,
  sha256Hex,
  systemClock,
  type Txid,
  type UnixMs,
  type WalletId,
} from "@cairn/core";
import { openPolicy } from "@cairn/core/test-support";
import { evaluate, type Policy, policyWindow } from "@cairn/policy";
import { type LiveSpend, LiveSpends, Loop } from "@cairn/runtime";
import { SpendClaims } from "../packages/runtime/src/spend-claims.ts";
import { KeptReservations } from "../packages/runtime/test/kept-reservations.ts";
import type { Entry } from "./report.ts";
import { over, spreadOf } from "./spread.ts";

const SETTLED = [100, 10_000, 100_000] as const;
const CLAIMS = 2_000;
const ROUNDS = 5;
const FEE = 10n as Sats;

/** What it takes to weigh a spend against limits and coins, to hold them, and to settle it, however much a node has settled in the last day. */
export async function claims(): Promise<readonly Entry[]> {
  const times = new Map<number, number[]>(SETTLED.map((settled) => [settled, []]));
  const held = new Map<number, number>();
  const nodes = new Map<number, Awaited<ReturnType<typeof nodeAfter>>>();
  for (const settled of SETTLED) {
    const before = await bytesInUse();
    nodes.set(settled, await nodeAfter(settled));
    held.set(settled, (await bytesInUse()) - before);
  }
  // The first round warms up.
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const [settled, node] of nodes) {
      const start = process.hrtime.bigint();
      for (let claim = 0; claim < CLAIMS; claim += 1) await node.claim(`${round}/${claim}`);
      const each = Number(process.hrtime.bigint() - start) / CLAIMS / 1_000;
      if (round > 0) times.get(settled)?.push(each);
    }
  }
  const few = spreadOf(times.get(SETTLED[0]) ?? []).median;
  return SETTLED.slice(1).map((settled) => ({
    section: "claims of a node in use",
    what: `limits and coins weighed, held and settled after ${settled} payments of the last 24 hours`,
    partner: `after ${SETTLED[0]}`,
    ratio: over(times.get(settled) ?? [], few),
    target: null,
    note: `${few.toFixed(0)} µs after ${SETTLED[0]}; ${((held.get(settled) ?? 0) / settled).toFixed(0)} bytes a payment in memory`,
  }));
}

async function nodeAfter(settled: number): Promise<{ claim(name: string): Promise<void> }> {
  const clock = systemClock;
  const policy: Policy = openPolicy({
    rolling24hMaxSats: 2_000_000_000_000_000n as Sats,
    perDestination24hMaxSats: 2_000_000_000_000_000n as Sats,
    rateLimit: { count: 1_000_000, windowMs: 3_600_000 },
  });
  const kept = new KeptReservations();
  const live = new LiveSpends({ clock, changed: () => {} });
  const book = new SpendClaims({ store: kept, live, clock });
  const loop = new Loop({
    store: { commit: async () => {} },
    courier: {} as never,
    audit: { entries: () => [], committed: () => {}, discarded: () => {} },
    report: (cause) => {
      throw cause;
    },
  });
  let page: ReturnType<typeof rowOf>[] = [];
  let next = 0;
  // The store's pages are made as they are asked for, so that they do not count as what the node keeps.
  kept.endedReservations = async ({ limit }) => {
    page = [];
    for (; page.length < limit && next < settled; next += 1)
      page.push(rowOf(`old ${next}`, clock.now(), next));
    return page;
  };
  await book.cover(policyWindow(policy));
  page = [];
  return {
    claim: async (name) => {
      const spend = spendOf(name);
      const { intent, lineage } = spend.row;
      await book.knowing(lineage, () => loop.run((batch) => live.add(batch, spend)));
      await loop.run((batch) => {
        const verdict = evaluate(policy, {
          history: book.history(),
          paid: book.paid,
          request: spend.intent.request.body,
          lineage,
          feeSats: FEE,
          vbytes: 200,
          approvals: [],
          now: clock.now(),
        });
        if (verdict.decision !== "allow") throw new Error(`policy says ${verdict.decision}`);
        book.hold(batch, intent);
      });
      await loop.run((batch) => {
        book.settle(batch, intent);
        live.remove(batch, intent);
      });
    },
  };
}

const hash = (text: string) => sha256Hex(new TextEncoder().encode(text));
const wallet = hash("wallet") as WalletId;

function outpointOf(name: string): Outpoint {
  return { txid: hash(`coin ${name}`) as Txid, vout: 0 };
}

function rowOf(name: string, now: UnixMs, index: number) {
  return {
    lineage: hash(name) as LineageId,
    wallet,
    amountSats: 1_000n as Sats,
    destinations: [{ address: `address ${index}`, amountSats: 990n as Sats }],
    intents: [{ intent: hash(`intent ${name}`) as IntentHash, outpoints: [outpointOf(name)], dead: false }],
    reservedAt: (now - (index % 80_000_000)) as UnixMs,
    freedAt: now,
  };
}

function spendOf(name: string): LiveSpend {
  const outputs = [{ address: `address ${name}`, amountSats: 1_000n as Sats }];
  return {
    intent: { request: { body: { outputs, maxFeeSats: FEE } } },
    row: {
      intent: hash(`intent ${name}`) as IntentHash,
      lineage: hash(name) as LineageId,
      wallet,
      outpoints: [outpointOf(name)],
      amountSats: 1_000n as Sats,
      certificate: null,
      signedTx: null,
    },
  } as unknown as LiveSpend;
}

async function bytesInUse(): Promise<number> {
  const { setFlagsFromString } = await import("node:v8");
  const { runInNewContext } = await import("node:vm");
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect !== "function") throw new TypeError("this engine gives no way to collect garbage");
  for (let round = 0; round < 4; round += 1) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
