import type {
  Ed25519PublicKey,
  IntentHash,
  LineageId,
  Policy,
  Sats,
  SpendRequest,
  UnixMs,
} from "@cairn/core";
import type { PaidHistory } from "./paid-window.ts";
import { requiredApprovals } from "./required-approvals.ts";
import { ROLLING_WINDOW_MS } from "./rolling-window.ts";

/** A lineage that this node has reserved for, as its reservation book tells it. */
export interface SpendHistoryEntry {
  readonly lineage: LineageId;
  readonly reservedAt: UnixMs;
  /** Outputs to recipients plus fee allowance. */
  readonly amountSats: Sats;
  readonly destinations: readonly { readonly address: string; readonly amountSats: Sats }[];
  /** Paid for good. What is not may be paid at any time, and counts in every window until it is dead. */
  readonly paid: boolean;
  /** It will not give way to another intent: certified, signed or paid. */
  readonly firm: boolean;
  /** Its intents that may still be paid. */
  readonly intents: readonly IntentHash[];
}

export interface PolicyInput {
  /** All lineages that were not freed by death, but for those that `paid` counts. */
  readonly history: readonly SpendHistoryEntry[];
  /** Settled lineages, never that of `request`. */
  readonly paid: PaidHistory;
  readonly request: Pick<SpendRequest, "outputs" | "maxFeeSats">;
  /** The lineage of `request`: what the history holds of it is replaced, never added. */
  readonly lineage: LineageId;
  /** What the transaction pays to miners. */
  readonly feeSats: Sats;
  /** Size of the signed transaction in virtual bytes. */
  readonly vbytes: number;
  /** Keys whose signatures approve exactly this request; the caller has verified them. */
  readonly approvals: readonly Ed25519PublicKey[];
  readonly now: UnixMs;
}

/** `deny` is final; `wait` may become `allow`: approvals may come, and what holds a limit may die. */
export type Decision = "allow" | "deny" | "wait";

export const policyRules = [
  "per-transaction",
  "rolling-24h",
  "per-destination-24h",
  "whitelist",
  "fee-ceiling",
  "fee-rate-ceiling",
  "rate-limit",
  "approvals",
  "delay",
] as const;
export type PolicyRule = (typeof policyRules)[number];

export interface RuleVerdict {
  readonly rule: PolicyRule;
  readonly decision: Decision;
  /** For people: what was compared with what. */
  readonly explanation: string;
  /** Intents that hold what this one needs and may still give way; empty unless the rule says `wait` for them. */
  readonly blocking: readonly IntentHash[];
}

export interface PolicyVerdict {
  /** The strictest of all rules: deny before wait before allow. */
  readonly decision: Decision;
  /** One verdict a rule, in the order of {@link policyRules}; rules that are off allow. */
  readonly rules: readonly RuleVerdict[];
  /** How long a signature waits after the intent, in milliseconds. */
  readonly delayMs: number;
}

/** Evaluates a spend. Pure: who dry-runs it with the same facts gets the same words. */
export function evaluate(policy: Policy, input: PolicyInput): PolicyVerdict {
  const facts = factsOf(input);
  const rules: RuleVerdict[] = [
    perTransaction(policy, facts),
    rolling(policy, facts),
    perDestination(policy, facts),
    whitelist(policy, facts),
    feeCeiling(policy, input),
    feeRateCeiling(policy, input),
    rateLimit(policy, facts),
    approvals(policy, facts),
    delay(policy),
  ];
  const decision = rules.some((rule) => rule.decision === "deny")
    ? "deny"
    : rules.some((rule) => rule.decision === "wait")
      ? "wait"
      : "allow";
  return { decision, rules, delayMs: policy.delayMs };
}

interface Facts {
  readonly input: PolicyInput;
  /** To recipients together. */
  readonly paysSats: bigint;
  /** What the lineage reserves with this request: the most of it and of what it held before, fee allowance included. */
  readonly reservesSats: bigint;
  /** The same by address. */
  readonly toAddress: ReadonlyMap<string, bigint>;
  readonly others: readonly SpendHistoryEntry[];
}

function factsOf(input: PolicyInput): Facts {
  const own = input.history.find((entry) => entry.lineage === input.lineage);
  const others = input.history.filter((entry) => entry.lineage !== input.lineage);
  const paysSats = input.request.outputs.reduce((sum, output) => sum + output.amountSats, 0n);
  const toAddress = new Map<string, bigint>();
  for (const { address, amountSats } of input.request.outputs) {
    toAddress.set(address, (toAddress.get(address) ?? 0n) + amountSats);
  }
  for (const { address, amountSats } of own?.destinations ?? []) {
    const asked = toAddress.get(address);
    if (asked !== undefined && asked < amountSats) toAddress.set(address, amountSats);
  }
  const fresh = paysSats + input.request.maxFeeSats;
  const held = own?.amountSats ?? 0n;
  return { input, paysSats, reservesSats: held > fresh ? held : fresh, toAddress, others };
}

function verdict(
  rule: PolicyRule,
  decision: Decision,
  explanation: string,
  blocking: readonly IntentHash[] = [],
): RuleVerdict {
  return { rule, decision, explanation, blocking };
}

function off(rule: PolicyRule): RuleVerdict {
  return verdict(rule, "allow", "the policy has no such rule");
}

/** Start of a window that ends now. */
function startOf(facts: Facts, windowMs: number): UnixMs {
  return (facts.input.now - windowMs) as UnixMs;
}

/** The entries that count in a window since `from`. */
function counting(facts: Facts, from: UnixMs): SpendHistoryEntry[] {
  return facts.others.filter((entry) => !entry.paid || entry.reservedAt > from);
}

/**
 * Compares what is asked with a limit: final when what is firm leaves too little, else waiting for those that may give way.
 * @param settled what of the limit is used for good
 */
function within(
  rule: PolicyRule,
  limit: bigint,
  asked: bigint,
  settled: bigint,
  entries: readonly { readonly entry: SpendHistoryEntry; readonly amount: bigint }[],
  words: (used: bigint) => string,
): RuleVerdict {
  const firm = entries.filter(({ entry }) => entry.firm).reduce((sum, { amount }) => sum + amount, settled);
  const all = entries.reduce((sum, { amount }) => sum + amount, settled);
  if (firm + asked > limit) return verdict(rule, "deny", words(firm));
  if (all + asked <= limit) return verdict(rule, "allow", words(all));
  const blocking = entries
    .filter(({ entry, amount }) => !entry.firm && amount > 0n)
    .flatMap(({ entry }) => entry.intents)
    .toSorted();
  return verdict(rule, "wait", `${words(all)}, of which ${all - firm} may still be freed`, blocking);
}

function perTransaction(policy: Policy, { paysSats }: Facts): RuleVerdict {
  const limit = policy.perTransactionMaxSats;
  if (limit === null) return off("per-transaction");
  const words = `the transaction pays ${paysSats} sat; the limit is ${limit}`;
  return verdict("per-transaction", paysSats > limit ? "deny" : "allow", words);
}

function rolling(policy: Policy, facts: Facts): RuleVerdict {
  const limit = policy.rolling24hMaxSats;
  if (limit === null) return off("rolling-24h");
  const from = startOf(facts, ROLLING_WINDOW_MS);
  const entries = counting(facts, from).map((entry) => ({
    entry,
    amount: entry.amountSats as bigint,
  }));
  return within(
    "rolling-24h",
    limit,
    facts.reservesSats,
    facts.input.paid.since(from).sats,
    entries,
    (used) =>
      `${facts.reservesSats} sat with fee allowance, and ${used} sat before; the limit for 24 hours is ${limit}`,
  );
}

function perDestination(policy: Policy, facts: Facts): RuleVerdict {
  const limit = policy.perDestination24hMaxSats;
  if (limit === null) return off("per-destination-24h");
  const from = startOf(facts, ROLLING_WINDOW_MS);
  const counted = counting(facts, from);
  const verdicts = [...facts.toAddress].map(([address, asked]) =>
    within(
      "per-destination-24h",
      limit,
      asked,
      facts.input.paid.to(address, from),
      counted.map((entry) => ({ entry, amount: receivedBy(entry, address) })),
      (used) => `${asked} sat to ${address}, and ${used} sat before; the limit for 24 hours is ${limit}`,
    ),
  );
  const rank: Record<Decision, number> = { deny: 0, wait: 1, allow: 2 };
  const strictest = verdicts.toSorted((a, b) => rank[a.decision] - rank[b.decision])[0];
  if (strictest === undefined) return verdict("per-destination-24h", "allow", "the request pays nobody");
  const blocking = [...new Set(verdicts.flatMap((each) => each.blocking))].toSorted();
  return { ...strictest, blocking: strictest.decision === "wait" ? blocking : [] };
}

function receivedBy(entry: SpendHistoryEntry, address: string): bigint {
  return entry.destinations
    .filter((destination) => destination.address === address)
    .reduce((sum, destination) => sum + destination.amountSats, 0n);
}

function whitelist(policy: Policy, facts: Facts): RuleVerdict {
  const allowed = policy.whitelist;
  if (allowed === null) return off("whitelist");
  const strangers = [...facts.toAddress.keys()].filter((address) => !allowed.includes(address));
  return strangers.length > 0
    ? verdict("whitelist", "deny", `not on the whitelist: ${strangers.join(", ")}`)
    : verdict("whitelist", "allow", "every recipient is on the whitelist");
}

function feeCeiling(policy: Policy, { feeSats }: PolicyInput): RuleVerdict {
  const limit = policy.feeCeilingSats;
  if (limit === null) return off("fee-ceiling");
  const words = `the fee is ${feeSats} sat; the ceiling is ${limit}`;
  return verdict("fee-ceiling", feeSats > limit ? "deny" : "allow", words);
}

function feeRateCeiling(policy: Policy, { feeSats, vbytes }: PolicyInput): RuleVerdict {
  const limit = policy.feeRateCeilingSatsPerKvb;
  if (limit === null) return off("fee-rate-ceiling");
  const tooHigh = feeSats * 1000n > BigInt(limit) * BigInt(vbytes);
  const words = `${feeSats} sat for ${vbytes} virtual bytes; the ceiling is ${limit} sat per 1,000`;
  return verdict("fee-rate-ceiling", tooHigh ? "deny" : "allow", words);
}

function rateLimit(policy: Policy, facts: Facts): RuleVerdict {
  const rule = policy.rateLimit;
  if (rule === null) return off("rate-limit");
  const from = startOf(facts, rule.windowMs);
  const entries = facts.others
    .filter((entry) => entry.reservedAt > from)
    .map((entry) => ({ entry, amount: 1n }));
  return within(
    "rate-limit",
    BigInt(rule.count),
    1n,
    BigInt(facts.input.paid.since(from).count),
    entries,
    (used) => `${used} other requests within ${rule.windowMs} ms; the limit is ${rule.count}`,
  );
}

function approvals(policy: Policy, facts: Facts): RuleVerdict {
  const rule = policy.approvals;
  if (rule === null) return off("approvals");
  if (requiredApprovals(policy, facts.input.request) === null) {
    return verdict("approvals", "allow", `${facts.paysSats} sat need no approval up to ${rule.aboveSats}`);
  }
  const given = rule.keys.filter((key) => facts.input.approvals.includes(key)).length;
  const words = `${given} of ${rule.m} approvals are there`;
  return verdict("approvals", given >= rule.m ? "allow" : "wait", words);
}

function delay(policy: Policy): RuleVerdict {
  const words =
    policy.delayMs === 0 ? "no delay" : `nodes sign no earlier than ${policy.delayMs} ms after the intent`;
  return verdict("delay", "allow", words);
}
