import type { NodeIndex, UnixMs } from "@cairn/core";
import { type AttemptLedger, emptyLedger } from "./attempt-ledger.ts";
import { attemptBound, initiatorOfAttempt, initiatorOrder } from "./initiator.ts";
import { type SessionSubject, subjectKey } from "./session-subject.ts";
import { subsetsInOrder } from "./subset.ts";

/** Times of the schedule, in milliseconds. They steer this node's own conduct; validity is the ledger's affair. */
export interface AttemptSettings {
  /** One more attempt is valid with every slot. The same at all nodes. */
  readonly slotMs: number;
  /** How long an initiator that is up gets before the next one steps in. */
  readonly patienceMs: number;
  /** The same for an initiator that is down or failed in an earlier attempt. */
  readonly downPatienceMs: number;
  /** Wait after a failed attempt; doubles with every full turn of the members. */
  readonly backoffMs: number;
  readonly maxBackoffMs: number;
}

export const defaultAttemptSettings: AttemptSettings = {
  slotMs: 30_000,
  patienceMs: 5_000,
  downPatienceMs: 500,
  backoffMs: 500,
  maxBackoffMs: 60_000,
};

/** Where a subject's attempts stand at this node. */
export interface AttemptPlan {
  /** The next attempt. */
  readonly attempt: number;
  /** When it is its initiator's turn. */
  readonly dueAt: UnixMs;
  /** An attempt under way, here or as observed, and when it is given up for lost; or null. */
  readonly live: { readonly attempt: number; readonly until: UnixMs } | null;
  /** How often each node failed an attempt of this subject. */
  readonly failures: ReadonlyMap<NodeIndex, number>;
}

export type AttemptDecision =
  | { readonly decision: "propose"; readonly attempt: number; readonly plan: AttemptPlan }
  | { readonly decision: "wait"; readonly until: UnixMs; readonly plan: AttemptPlan }
  | { readonly decision: "give-up"; readonly code: "grant-expired"; readonly plan: AttemptPlan };

/**
 * A plan from the first attempt on that this node has not seen.
 * @param ledger what it has seen, also before a restart: it would refuse its own proposal of such an attempt for ever
 */
export function newAttemptPlan(
  subject: SessionSubject,
  now: UnixMs,
  ledger: AttemptLedger = emptyLedger,
): AttemptPlan {
  const seen = ledger.subjects.get(subjectKey(subject));
  return {
    attempt: seen === undefined ? 0 : seen.highest + 1,
    dueAt: Math.max(subject.notBefore, now) as UnixMs,
    live: null,
    failures: new Map(),
  };
}

/** What this node does now for the subject: propose, wait, or give up because it has expired. */
export function decideAttempt(
  plan: AttemptPlan,
  subject: SessionSubject,
  facts: {
    readonly me: NodeIndex;
    readonly now: UnixMs;
    readonly up: ReadonlySet<NodeIndex>;
    readonly settings: AttemptSettings;
  },
): AttemptDecision {
  const { now, settings } = facts;
  if (now >= subject.expiry) return { decision: "give-up", code: "grant-expired", plan };
  let current = plan;
  if (current.live !== null) {
    if (now < current.live.until) return { decision: "wait", until: current.live.until, plan: current };
    current = afterAttempt(current, current.live.attempt, [], current.live.until, subject, settings);
  }
  const order = initiatorOrder(subject.orderBy, subject.nonce, subject.members);
  for (;;) {
    const bound = attemptBound({
      members: order.length,
      notBefore: subject.notBefore,
      now,
      slotMs: settings.slotMs,
    });
    if (current.attempt >= bound) {
      const until = subject.notBefore + (current.attempt - order.length + 1) * settings.slotMs;
      return { decision: "wait", until: until as UnixMs, plan: current };
    }
    if (now < current.dueAt) return { decision: "wait", until: current.dueAt, plan: current };
    const initiator = initiatorOfAttempt(order, current.attempt);
    if (initiator === null || initiator === facts.me) {
      return { decision: "propose", attempt: current.attempt, plan: current };
    }
    const healthy = facts.up.has(initiator) && !current.failures.has(initiator);
    const until = (current.dueAt + (healthy ? settings.patienceMs : settings.downPatienceMs)) as UnixMs;
    if (now < until) return { decision: "wait", until, plan: current };
    current = { ...current, attempt: current.attempt + 1, dueAt: until };
  }
}

/** An attempt is under way: a proposal was accepted, observed or sent. */
export function attemptBegan(plan: AttemptPlan, attempt: number, until: UnixMs): AttemptPlan {
  if (attempt < plan.attempt) return plan;
  return { ...plan, attempt: attempt + 1, live: { attempt, until } };
}

/** An attempt ended without a result. `excluded` are those whom the session machine left out. */
export function attemptEnded(
  plan: AttemptPlan,
  attempt: number,
  excluded: readonly NodeIndex[],
  now: UnixMs,
  subject: SessionSubject,
  settings: AttemptSettings,
): AttemptPlan {
  if (plan.live === null || plan.live.attempt !== attempt) return plan;
  return afterAttempt(plan, attempt, excluded, now, subject, settings);
}

function afterAttempt(
  plan: AttemptPlan,
  attempt: number,
  excluded: readonly NodeIndex[],
  at: UnixMs,
  subject: SessionSubject,
  settings: AttemptSettings,
): AttemptPlan {
  const failures = new Map(plan.failures);
  for (const node of excluded) failures.set(node, (failures.get(node) ?? 0) + 1);
  const turns = Math.floor(attempt / subject.members.length);
  const backoff = Math.min(settings.maxBackoffMs, settings.backoffMs * 2 ** Math.min(turns, 30));
  return {
    attempt: Math.max(plan.attempt, attempt + 1),
    dueAt: (at + backoff) as UnixMs,
    live: null,
    failures,
  };
}

/**
 * The subsets that this node would propose, best first: itself among them, none of `refused`, all up, fewest failures, fewest quarantined; ties in the subject's
 * order from the attempt's own subset on. Empty when too few members are left.
 */
export function preferredSubsets(
  plan: AttemptPlan,
  subject: SessionSubject,
  facts: {
    readonly me: NodeIndex;
    readonly attempt: number;
    readonly up: ReadonlySet<NodeIndex>;
    /** Banned or excluded for their own term: never chosen. */
    readonly refused: ReadonlySet<NodeIndex>;
    /** Those with whom sessions of other subjects kept failing: chosen last. */
    readonly quarantined?: ReadonlySet<NodeIndex>;
  },
): readonly (readonly NodeIndex[])[] {
  const subsets = subsetsInOrder(subject.subject, subject.members, subject.threshold);
  const first = subsets.length === 0 ? 0 : facts.attempt % subsets.length;
  return [...subsets.slice(first), ...subsets.slice(0, first)]
    .filter((subset) => subset.includes(facts.me) && !subset.some((node) => facts.refused.has(node)))
    .map((subset) => ({
      subset,
      down: subset.filter((node) => node !== facts.me && !facts.up.has(node)).length,
      failures: subset.reduce((sum, node) => sum + (plan.failures.get(node) ?? 0), 0),
      quarantined: subset.filter((node) => node !== facts.me && facts.quarantined?.has(node) === true).length,
    }))
    .sort((a, b) => a.down - b.down || a.failures - b.failures || a.quarantined - b.quarantined)
    .map(({ subset }) => subset);
}
