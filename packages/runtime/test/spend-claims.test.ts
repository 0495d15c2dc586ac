import assert from "node:assert/strict";
import { test } from "node:test";
import { isPaid } from "@cairn/consensus";
import {
  CairnError,
  type IntentHash,
  type LineageId,
  type Outpoint,
  outpointText,
  type Sats,
  type StoreWrite,
  sha256Hex,
  type Txid,
  type UnixMs,
  type WalletId,
} from "@cairn/core";
import { ManualClock, openPolicy } from "@cairn/core/test-support";
import { evaluate, type Policy, policyWindow } from "@cairn/policy";
import fc from "fast-check";
import { type LiveSpend, LiveSpends } from "../src/live-spends.ts";
import { Loop } from "../src/loop.ts";
import { SpendClaims } from "../src/spend-claims.ts";
import { KeptReservations } from "./kept-reservations.ts";

const HOUR = 3_600_000;
const FEE = 10n as Sats;
const hash = (name: string) => sha256Hex(Buffer.from(name));
const intentOf = (name: string) => hash(`intent ${name}`) as IntentHash;
const lineageOf = (name: string) => hash(`lineage ${name}`) as LineageId;
const coin = (name: string): Outpoint => ({ txid: hash(`coin ${name}`) as Txid, vout: 0 });

interface Wish {
  readonly intent: string;
  readonly lineage: string;
  readonly coins: readonly string[];
  readonly sats: number;
  readonly to: string;
}

/** What a node holds for spends, over a store that outlives it. */
class Node {
  readonly kept: KeptReservations;
  readonly clock: ManualClock;
  readonly live: LiveSpends;
  readonly claims: SpendClaims;
  readonly #loop: Loop;
  /** Whether the next commit fails. */
  failing = false;

  constructor(kept: KeptReservations, clock: ManualClock) {
    this.kept = kept;
    this.clock = clock;
    this.live = new LiveSpends({ clock, changed: () => {} });
    this.claims = new SpendClaims({ store: kept, live: this.live, clock });
    this.#loop = new Loop({
      store: {
        commit: async (writes: readonly StoreWrite[]) => {
          await Promise.resolve();
          if (this.failing) throw new CairnError("storage-full", "the disk is full");
          await kept.commit(writes);
        },
      },
      courier: {} as never,
      audit: { entries: () => [], committed: () => {}, discarded: () => {} },
      report: (cause) => assert.fail(String(cause)),
    });
  }

  /** Takes in a spend and holds what it asks for, where policy and the others allow it. */
  async hold(wish: Wish, policy: Policy): Promise<boolean> {
    const intent = intentOf(wish.intent);
    const lineage = lineageOf(wish.lineage);
    await this.claims
      .knowing(lineage, () =>
        this.#loop.run((batch) => {
          if (!this.live.has(intent)) this.live.add(batch, spendOf(wish));
        }),
      )
      .catch(() => {});
    await this.claims.cover(policyWindow(policy));
    return this.#loop
      .run((batch) => {
        if (!this.live.has(intent) || this.claims.isPaid(lineage)) return false;
        const verdict = evaluate(policy, {
          history: this.claims.history(),
          paid: this.claims.paid,
          request: this.live.of(intent).intent.request.body,
          lineage,
          feeSats: FEE,
          vbytes: 200,
          approvals: [],
          now: this.clock.now(),
        });
        if (verdict.decision !== "allow" || this.claims.weigh(intent).kind !== "reserved") return false;
        this.claims.hold(batch, intent);
        return true;
      })
      .catch(() => false);
  }

  async end(name: string, how: "settle" | "free"): Promise<void> {
    const intent = intentOf(name);
    await this.#loop
      .run((batch) => {
        const live = this.live.get(intent);
        if (live === undefined) return;
        const ended = how === "settle" ? this.live.ofLineage(live.row.lineage) : [live];
        for (const { row } of ended) if (row.intent !== intent) this.claims.free(batch, row.intent);
        this.claims[how](batch, intent);
        for (const { row } of ended) this.live.remove(batch, row.intent);
      })
      .catch(() => {});
  }

  /** The same store under a node that starts anew. */
  async restarted(spends: readonly Wish[], policy: Policy): Promise<Node> {
    const node = new Node(this.kept, this.clock);
    await node.claims.restore();
    await node.claims.cover(policyWindow(policy));
    for (const wish of spends) {
      if (!this.live.has(intentOf(wish.intent))) continue;
      await node.claims.knowing(lineageOf(wish.lineage), async () => node.live.restore(spendOf(wish)));
    }
    return node;
  }
}

function spendOf({ intent, lineage, coins, sats, to }: Wish): LiveSpend {
  const outputs = [{ address: to, amountSats: BigInt(sats) as Sats }];
  return {
    intent: { request: { body: { outputs, maxFeeSats: FEE } } },
    row: {
      intent: intentOf(intent),
      lineage: lineageOf(lineage),
      wallet: hash("wallet") as WalletId,
      outpoints: coins.map(coin),
      expiry: Number.MAX_SAFE_INTEGER,
      amountSats: BigInt(sats) as Sats,
      certificate: null,
      signedTx: null,
    },
  } as unknown as LiveSpend;
}

const policy = openPolicy({
  rolling24hMaxSats: 1_000n as Sats,
  perDestination24hMaxSats: 700n as Sats,
  rateLimit: { count: 4, windowMs: 30 * HOUR },
});

test("over random schedules with settlements, deaths, restarts and full disks no limit, coin or lineage is taken twice", async () => {
  const step = fc.record({
    wait: fc.integer({ min: 0, max: 6 * HOUR }),
    action: fc.constantFrom("hold", "hold", "hold", "hold", "settle", "settle", "free", "restart", "fail"),
    intent: fc.integer({ min: 0, max: 11 }),
    coins: fc.uniqueArray(fc.constantFrom("1", "2", "3", "4", "5", "6"), { minLength: 1, maxLength: 2 }),
    sats: fc.integer({ min: 1, max: 600 }),
    to: fc.constantFrom("alice", "bob"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const clock = new ManualClock();
      let node = new Node(new KeptReservations(), clock);
      const wishes = new Map<string, Wish>();
      for (const { wait, action, intent, ...asked } of steps) {
        clock.jump(wait);
        const name = `${intent}`;
        const wish = wishes.get(name) ?? { intent: name, lineage: `${intent % 5}`, ...asked };
        wishes.set(name, wish);
        if (action === "hold") await node.hold(wish, policy);
        else if (action === "restart") node = await node.restarted([...wishes.values()], policy);
        else if (action === "fail") {
          node.failing = true;
          await Promise.all([node.hold(wish, policy), node.end(name, intent % 2 === 0 ? "settle" : "free")]);
          node.failing = false;
        } else await node.end(name, action);
        await check(node);
      }
    }),
    { numRuns: 300 },
  );
});

/** Holds the store, whole, against the rules; and memory against the store. */
async function check({ kept, claims, clock, live }: Node): Promise<void> {
  const now = clock.now();
  const holders = new Map<string, LineageId>();
  const counting = [...kept.rows.values()].filter((row) => row.freedAt === null || isPaid(row));
  for (const row of counting) {
    const alive = row.intents.filter(({ dead }) => !dead);
    if (row.freedAt !== null) {
      assert.equal(alive.length, 1, "a lineage is paid once");
      continue;
    }
    for (const outpoint of alive.flatMap(({ outpoints }) => outpoints)) {
      assert.equal(holders.get(outpointText(outpoint)) ?? row.lineage, row.lineage, "a coin has one lineage");
      holders.set(outpointText(outpoint), row.lineage);
    }
  }
  const within = (ms: number) => counting.filter((row) => row.freedAt === null || row.reservedAt > now - ms);
  const day = within(24 * HOUR);
  const total = day.reduce((sum, row) => sum + row.amountSats, 0n);
  assert.ok(total <= (policy.rolling24hMaxSats ?? 0n), `${total} sat in a day`);
  for (const address of ["alice", "bob"]) {
    const all = day.flatMap((row) => row.destinations).filter((entry) => entry.address === address);
    const received = all.reduce((sum, entry) => sum + entry.amountSats, 0n);
    assert.ok(received <= (policy.perDestination24hMaxSats ?? 0n), `${received} sat to ${address}`);
  }
  assert.ok(counting.filter((row) => row.reservedAt > now - 30 * HOUR).length <= 4, "the rate limit holds");
  const open = counting.filter((row) => row.freedAt === null).map(({ lineage }) => lineage);
  const history = claims.history();
  assert.deepEqual(
    history
      .filter(({ paid }) => !paid)
      .map(({ lineage }) => lineage)
      .toSorted(),
    open.toSorted(),
  );
  assert.equal(history.filter(({ paid }) => paid).length, 0, "what is paid is not looked through one by one");
  const paid = counting.filter((row) => row.freedAt !== null && row.reservedAt > now - 24 * HOUR);
  if (live.all().length === 0 && paid.length === 0) return;
  await claims.cover(policyWindow(policy));
  assert.deepEqual(claims.paid.since((now - 24 * HOUR) as UnixMs), {
    count: paid.length,
    sats: paid.reduce((sum, row) => sum + row.amountSats, 0n),
  });
}

test("a lineage that was paid long ago is not paid again, though memory forgot it and the node restarted", async () => {
  const open = openPolicy();
  const clock = new ManualClock();
  let node = new Node(new KeptReservations(), clock);
  const first = { intent: "a", lineage: "L", coins: ["1"], sats: 5, to: "alice" };
  assert.equal(await node.hold(first, open), true);
  await node.end("a", "settle");
  assert.deepEqual([...node.claims.history()], []);
  for (const restarted of [false, true]) {
    clock.jump(5 * 24 * HOUR);
    if (restarted) node = await node.restarted([], open);
    const again = { ...first, intent: `b ${restarted}`, coins: ["2"] };
    assert.equal(await node.hold(again, open), false);
    assert.deepEqual(node.claims.weigh(intentOf(again.intent)), { kind: "refused", code: "replayed" });
    await node.end(again.intent, "free");
    assert.equal(node.claims.isPaid(lineageOf("L")), false, "it is forgotten again");
  }
});

test("a policy that looks further back counts what was paid before it was known", async () => {
  const clock = new ManualClock();
  const node = new Node(new KeptReservations(), clock);
  const day = openPolicy();
  for (const name of ["a", "b", "c"]) {
    assert.ok(await node.hold({ intent: name, lineage: name, coins: [name], sats: 5, to: "alice" }, day));
    await node.end(name, "settle");
    clock.jump(40 * HOUR);
  }
  const month = openPolicy({ rateLimit: { count: 3, windowMs: 30 * 24 * HOUR } });
  const wish = { intent: "d", lineage: "d", coins: ["d"], sats: 5, to: "alice" };
  assert.equal(await node.hold(wish, month), false);
  assert.equal(node.claims.paid.since((clock.now() - 30 * 24 * HOUR) as UnixMs).count, 3);
});

for (const when of ["before", "after"] as const) {
  test(`what is settled ${when} its page is read while a window is loaded counts once`, async () => {
    const clock = new ManualClock();
    const node = new Node(new KeptReservations(), clock);
    const wish = { intent: "a", lineage: "a", coins: ["a"], sats: 5, to: "alice" };
    assert.ok(await node.hold(wish, openPolicy()));
    const read = node.kept.endedReservations;
    node.kept.endedReservations = async (query) => {
      if (when === "before") await node.end("a", "settle");
      const rows = await read(query);
      if (when === "after") await node.end("a", "settle");
      assert.equal(rows.length, when === "before" ? 1 : 0);
      return rows;
    };
    await node.claims.cover(30 * 24 * HOUR);
    assert.deepEqual(node.claims.paid.since((clock.now() - HOUR) as UnixMs), { count: 1, sats: 15n });
  });
}

test("memory and the work of a claim do not grow with what was settled", async () => {
  const clock = new ManualClock();
  const node = new Node(new KeptReservations(), clock);
  for (let count = 0; count < 300; count += 1) {
    const name = `${count}`;
    assert.ok(
      await node.hold({ intent: name, lineage: name, coins: [name], sats: 5, to: name }, openPolicy()),
    );
    await node.end(name, "settle");
    assert.equal(node.claims.history().length, 0);
    assert.equal(node.claims.heldFor().length, 0);
  }
  assert.equal(node.kept.paid, 300);
  assert.equal(node.kept.asked, 300, "each lineage is asked of the store once");
});
