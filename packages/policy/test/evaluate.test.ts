import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decodeCanonical,
  type Ed25519PublicKey,
  encodeCanonical,
  type IntentHash,
  type LineageId,
  type Sats,
  sha256Hex,
  type UnixMs,
} from "@cairn/core";
import { openPolicy } from "@cairn/core/test-support";
import fc from "fast-check";
import {
  evaluate,
  PaidWindow,
  type Policy,
  type PolicyInput,
  type PolicyRule,
  policyHash,
  policyRules,
  policySchema,
  policyWindow,
  ROLLING_WINDOW_MS,
  type SpendHistoryEntry,
} from "../src/index.ts";

const NOW = 1_800_000_000_000;
const hash = (name: string) => sha256Hex(Buffer.from(name));
const key = (name: string) => hash(name) as Ed25519PublicKey;
const sats = (amount: number | bigint) => BigInt(amount) as Sats;

const open = openPolicy();

function inputOf(change: Partial<PolicyInput> = {}, amount = 1_000, maxFee = 100): PolicyInput {
  return {
    history: [],
    paid: new PaidWindow(),
    request: { outputs: [{ address: "alice", amountSats: sats(amount) }], maxFeeSats: sats(maxFee) },
    lineage: hash("own") as LineageId,
    feeSats: sats(50),
    vbytes: 140,
    approvals: [],
    now: NOW as UnixMs,
    ...change,
  };
}

function entryOf(name: string, amount: number, change: Partial<SpendHistoryEntry> = {}): SpendHistoryEntry {
  return {
    lineage: hash(name) as LineageId,
    reservedAt: (NOW - 1_000) as UnixMs,
    amountSats: sats(amount),
    destinations: [{ address: "alice", amountSats: sats(amount) }],
    paid: false,
    firm: true,
    intents: [hash(`intent ${name}`) as IntentHash],
    ...change,
  };
}

function decides(policy: Partial<Policy>, input: PolicyInput, rule: PolicyRule, decision: string): void {
  const verdict = evaluate({ ...open, ...policy }, input);
  const found = verdict.rules.find((each) => each.rule === rule);
  assert.equal(found?.decision, decision, `${rule}: ${found?.explanation}`);
  assert.ok((found?.explanation.length ?? 0) > 5, "every rule explains itself");
  assert.equal(verdict.decision, decision, "the other rules are off and allow");
}

test("a policy without limits allows, and each rule says so once", () => {
  const verdict = evaluate(open, inputOf());
  assert.equal(verdict.decision, "allow");
  assert.deepEqual(
    verdict.rules.map((each) => each.rule),
    policyRules,
  );
});

test("each rule decides at its exact limit", () => {
  decides({ perTransactionMaxSats: sats(1_000) }, inputOf(), "per-transaction", "allow");
  decides({ perTransactionMaxSats: sats(999) }, inputOf(), "per-transaction", "deny");
  decides({ rolling24hMaxSats: sats(1_100) }, inputOf(), "rolling-24h", "allow");
  decides({ rolling24hMaxSats: sats(1_099) }, inputOf(), "rolling-24h", "deny");
  decides({ perDestination24hMaxSats: sats(1_000) }, inputOf(), "per-destination-24h", "allow");
  decides({ perDestination24hMaxSats: sats(999) }, inputOf(), "per-destination-24h", "deny");
  decides({ whitelist: ["alice"] }, inputOf(), "whitelist", "allow");
  decides({ whitelist: ["bob"] }, inputOf(), "whitelist", "deny");
  decides({ whitelist: [] }, inputOf(), "whitelist", "deny");
  decides({ feeCeilingSats: sats(50) }, inputOf(), "fee-ceiling", "allow");
  decides({ feeCeilingSats: sats(49) }, inputOf(), "fee-ceiling", "deny");
  decides({ feeRateCeilingSatsPerKvb: 1_000 }, inputOf({ feeSats: sats(140) }), "fee-rate-ceiling", "allow");
  decides({ feeRateCeilingSatsPerKvb: 1_000 }, inputOf({ feeSats: sats(141) }), "fee-rate-ceiling", "deny");
});

test("a split over several outputs to one address is counted together", () => {
  const outputs = [1, 2].map(() => ({ address: "alice", amountSats: sats(600) }));
  const input = inputOf({ request: { outputs, maxFeeSats: sats(0) } });
  decides({ perDestination24hMaxSats: sats(1_199) }, input, "per-destination-24h", "deny");
  decides({ perTransactionMaxSats: sats(1_199) }, input, "per-transaction", "deny");
});

test("what is firm denies; what may still give way makes the request wait and is named", () => {
  const limit = { rolling24hMaxSats: sats(2_000) };
  decides(limit, inputOf({ history: [entryOf("a", 901)] }), "rolling-24h", "deny");
  decides(limit, inputOf({ history: [entryOf("a", 900)] }), "rolling-24h", "allow");
  const tentative = inputOf({ history: [entryOf("a", 500), entryOf("b", 500, { firm: false })] });
  decides(limit, tentative, "rolling-24h", "wait");
  const rule = evaluate({ ...open, ...limit }, tentative).rules.find((each) => each.rule === "rolling-24h");
  assert.deepEqual(rule?.blocking, [hash("intent b")]);
});

test("a payment leaves the window after 24 hours; what may still be paid never does", () => {
  const limit = { rolling24hMaxSats: sats(1_100), perDestination24hMaxSats: sats(1_000) };
  const old = { reservedAt: (NOW - ROLLING_WINDOW_MS) as UnixMs, paid: true };
  assert.equal(
    evaluate({ ...open, ...limit }, inputOf({ history: [entryOf("a", 1_000, old)] })).decision,
    "allow",
  );
  const inside = { ...old, reservedAt: (NOW - ROLLING_WINDOW_MS + 1) as UnixMs };
  assert.equal(
    evaluate({ ...open, ...limit }, inputOf({ history: [entryOf("a", 1_000, inside)] })).decision,
    "deny",
  );
  const live = { ...old, paid: false };
  assert.equal(
    evaluate({ ...open, ...limit }, inputOf({ history: [entryOf("a", 1_000, live)] })).decision,
    "deny",
  );
});

test("a replacement in one lineage is counted once, with the larger of both", () => {
  const own = entryOf("own", 1_100);
  decides({ rolling24hMaxSats: sats(1_100) }, inputOf({ history: [own] }), "rolling-24h", "allow");
  decides(
    { perDestination24hMaxSats: sats(1_100) },
    inputOf({ history: [own] }),
    "per-destination-24h",
    "allow",
  );
  decides({ rolling24hMaxSats: sats(1_100) }, inputOf({ history: [own] }, 1_001), "rolling-24h", "deny");
  const larger = [entryOf("own", 1_500), entryOf("other", 500)];
  decides({ rolling24hMaxSats: sats(1_999) }, inputOf({ history: larger }), "rolling-24h", "deny");
  decides({ rolling24hMaxSats: sats(2_000) }, inputOf({ history: larger }), "rolling-24h", "allow");
  const rate = { rateLimit: { count: 1, windowMs: 60_000 } };
  decides(rate, inputOf({ history: [own] }), "rate-limit", "allow");
});

test("the rate limit counts lineages within its window", () => {
  const rate = { rateLimit: { count: 2, windowMs: 60_000 } };
  const at = (name: string, ago: number, firm = true) =>
    entryOf(name, 1, { reservedAt: (NOW - ago) as UnixMs, firm });
  decides(rate, inputOf({ history: [at("a", 10)] }), "rate-limit", "allow");
  decides(rate, inputOf({ history: [at("a", 10), at("b", 59_999)] }), "rate-limit", "deny");
  decides(rate, inputOf({ history: [at("a", 10), at("b", 60_000)] }), "rate-limit", "allow");
  decides(rate, inputOf({ history: [at("a", 10), at("b", 20, false)] }), "rate-limit", "wait");
});

test("m of k approvals are asked for above their amount; strangers and doubles do not count", () => {
  const approvals = { m: 2, keys: [key("a"), key("b"), key("c")], aboveSats: sats(999) };
  decides({ approvals: { ...approvals, aboveSats: sats(1_000) } }, inputOf(), "approvals", "allow");
  decides({ approvals }, inputOf(), "approvals", "wait");
  decides({ approvals }, inputOf({ approvals: [key("a"), key("a"), key("x")] }), "approvals", "wait");
  decides({ approvals }, inputOf({ approvals: [key("a"), key("c")] }), "approvals", "allow");
});

test("deny is stricter than wait", () => {
  const approvals = { m: 1, keys: [key("a")], aboveSats: sats(0) };
  assert.equal(evaluate({ ...open, approvals, perTransactionMaxSats: sats(1) }, inputOf()).decision, "deny");
});

test("the delay is handed to the grant", () => {
  assert.equal(evaluate({ ...open, delayMs: 5_000 }, inputOf()).delayMs, 5_000);
});

test("a policy survives its canonical form, and every change changes its hash", () => {
  const again = decodeCanonical(policySchema, encodeCanonical({ ...open, rolling24hMaxSats: sats(5) }));
  assert.equal(policyHash(again), policyHash({ ...open, rolling24hMaxSats: sats(5) }));
  const changes: Partial<Policy>[] = [
    { policyVersion: 2 },
    { perTransactionMaxSats: sats(0) },
    { rolling24hMaxSats: sats(0) },
    { perDestination24hMaxSats: sats(0) },
    { whitelist: [] },
    { feeCeilingSats: sats(0) },
    { feeRateCeilingSatsPerKvb: 1_000 },
    { rateLimit: { count: 1, windowMs: 1_000 } },
    { delayMs: 1 },
    { approvals: { m: 1, keys: [key("a")], aboveSats: sats(0) } },
  ];
  const hashes = new Set([open, ...changes.map((change) => ({ ...open, ...change }))].map(policyHash));
  assert.equal(hashes.size, changes.length + 1);
});

test("malformed policies are refused", () => {
  const bad = [
    { ...open, approvals: { m: 2, keys: [key("a")], aboveSats: 0 } },
    { ...open, approvals: { m: 1, keys: [key("a"), key("a")], aboveSats: 0 } },
    { ...open, rolling24hMaxSats: -1 },
    { ...open, surprise: 1 },
    { ...open, rateLimit: { count: 0, windowMs: 1_000 } },
  ];
  for (const policy of bad) assert.ok(!policySchema.safeParse(policy).success);
});

/** A node's reservations as its book keeps them, for {@link evaluate}: lineage → what it holds. */
interface Held extends SpendHistoryEntry {
  readonly dead: boolean;
}

test("limits are never exceeded over random schedules with concurrency, restarts and replacements", () => {
  const step = fc.record({
    wait: fc.integer({ min: 0, max: 8 * 3_600_000 }),
    action: fc.constantFrom("ask", "ask", "ask", "ask", "pay", "die", "restart"),
    lineage: fc.integer({ min: 0, max: 9 }),
    amount: fc.integer({ min: 1, max: 700 }),
    address: fc.constantFrom("alice", "bob"),
  });
  const policy: Policy = {
    ...open,
    perTransactionMaxSats: sats(600),
    rolling24hMaxSats: sats(1_000),
    perDestination24hMaxSats: sats(800),
    rateLimit: { count: 3, windowMs: 3_600_000 },
  };
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      let now = NOW;
      let held = new Map<LineageId, Held>();
      let paid = new PaidWindow();
      const add = (each: Held) => paid.add(each, now as UnixMs, policyWindow(policy));
      for (const { wait, action, lineage: number, amount, address } of steps) {
        now += wait;
        const lineage = hash(`${number}`) as LineageId;
        const own = held.get(lineage);
        if (action === "restart") {
          held = new Map(structuredClone([...held]));
          paid = new PaidWindow();
          for (const each of held.values()) if (each.paid) add(each);
        } else if (action === "die" && own !== undefined && !own.paid)
          held.set(lineage, { ...own, dead: true });
        else if (action === "pay" && own?.paid === false && !own.dead) {
          held.set(lineage, { ...own, paid: true, firm: true });
          add(own);
        } else if (action === "ask" && own?.paid !== true && own?.dead !== true) {
          const history = [...held.values()].filter((each) => !each.dead && !each.paid);
          const input: PolicyInput = {
            ...inputOf({ history, paid, lineage, now: now as UnixMs }),
            request: { outputs: [{ address, amountSats: sats(amount) }], maxFeeSats: sats(10) },
          };
          const verdict = evaluate(policy, input);
          const listed = [...held.values()].filter((each) => !each.dead);
          assert.deepEqual(verdict, evaluate(policy, { ...input, history: listed, paid: new PaidWindow() }));
          if (verdict.decision === "allow") held.set(lineage, reserve(own, input, amount, address));
        }
        checkLimits(policy, [...held.values()], now);
      }
    }),
    { numRuns: 300 },
  );
});

/** As the reservation book does it: the lineage's maximum, at the time of its latest approval. */
function reserve(own: Held | undefined, input: PolicyInput, amount: number, address: string): Held {
  const most = (a: bigint, b: bigint) => (a > b ? a : b) as Sats;
  const before = new Map(own?.destinations.map((each) => [each.address, each.amountSats]));
  before.set(address, most(before.get(address) ?? 0n, BigInt(amount)));
  return {
    lineage: input.lineage,
    reservedAt: input.now,
    amountSats: most(own?.amountSats ?? 0n, BigInt(amount) + input.request.maxFeeSats),
    destinations: [...before].map(([to, amountSats]) => ({ address: to, amountSats })),
    paid: false,
    firm: false,
    intents: [],
    dead: false,
  };
}

function checkLimits(policy: Policy, held: readonly Held[], now: number): void {
  const counting = held.filter(
    (each) => !each.dead && (!each.paid || each.reservedAt > now - ROLLING_WINDOW_MS),
  );
  const total = counting.reduce((sum, each) => sum + each.amountSats, 0n);
  assert.ok(total <= (policy.rolling24hMaxSats ?? 0n), `${total} sat within 24 hours`);
  for (const address of ["alice", "bob"]) {
    const received = counting
      .flatMap((each) => each.destinations)
      .filter((each) => each.address === address)
      .reduce((sum, each) => sum + each.amountSats, 0n);
    assert.ok(received <= (policy.perDestination24hMaxSats ?? 0n), `${received} sat to ${address}`);
  }
  const recent = held.filter((each) => !each.dead && each.reservedAt > now - 3_600_000);
  assert.ok(recent.length <= (policy.rateLimit?.count ?? 0));
}
