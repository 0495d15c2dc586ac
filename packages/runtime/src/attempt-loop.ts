import type { NodeIndex, SessionId, Timer, UnixMs } from "@cairn/core";
import {
  type AttemptPlan,
  attemptBegan,
  attemptEnded,
  endAttempt,
  newAttemptPlan,
  type Proposal,
  type SessionResult,
  type SessionSubject,
  standingAfterFailure,
  standingAfterSuccess,
} from "@cairn/signing";
import type { AttemptDeskModules, AttemptDeskOptions } from "./attempt-desk.ts";
import type { Batch } from "./loop.ts";
import type { SessionDesk } from "./session-desk.ts";
import type { SessionEnd, SessionOwner } from "./session-owner.ts";
import { unawaited } from "./unawaited.ts";

/** Attempts at one subject, as they stand at this node. */
export interface Attempts<Job> {
  /** What the desk needs to know of it. */
  readonly job: Job;
  readonly subject: SessionSubject;
  readonly plan: AttemptPlan;
  /** The session of the attempt that lives here, or null. */
  readonly session: SessionId | null;
  /** The last attempt in which others sign, or null. */
  readonly observed: { readonly session: SessionId; readonly signers: readonly NodeIndex[] } | null;
}

export type AttemptLoopOptions = Pick<AttemptDeskOptions, "me" | "attempts" | "timeouts">;

export interface AttemptLoopModules<Key, Job>
  extends Pick<AttemptDeskModules, "clock" | "driver" | "ledger" | "standing" | "up" | "report"> {
  readonly sessions: Pick<SessionDesk, "has" | "cancel">;
  /** Before each turn: whether attempts still make sense. What is over is forgotten by whoever says so. */
  readonly isOpen: (key: Key) => Promise<boolean>;
  /** It is this node's turn. */
  readonly propose: (key: Key, attempts: Attempts<Job>, plan: AttemptPlan, attempt: number) => Promise<void>;
}

/** What the desk does when an attempt's session ends: within the batch that records it. */
export interface AttemptOwner {
  readonly finished: (batch: Batch, result: SessionResult) => void;
  readonly failed: (batch: Batch, end: SessionEnd) => void;
  readonly progress?: SessionOwner["progress"];
}

/** How soon a turn that could not be taken is looked at again. */
const RECHECK_MS = 500;

/**
 * One attempt after another at each subject, until one has its result or the subject expires (architecture §5.5): whose turn it
 * is and when, which session of it lives here, and how long to wait after a failure.
 */
export class AttemptLoop<Key extends string, Job> {
  readonly #options: AttemptLoopOptions;
  readonly #modules: AttemptLoopModules<Key, Job>;
  readonly #all = new Map<Key, Attempts<Job>>();
  readonly #timers = new Map<Key, Timer>();
  #closed = false;

  constructor(options: AttemptLoopOptions, modules: AttemptLoopModules<Key, Job>) {
    this.#options = options;
    this.#modules = modules;
  }

  get(key: Key): Attempts<Job> | undefined {
    return this.#all.get(key);
  }

  entries(): readonly (readonly [Key, Attempts<Job>])[] {
    return [...this.#all];
  }

  /** Sees to attempts at a subject from now on. @param notBefore the first is made no earlier, whatever the subject says */
  add(batch: Batch, key: Key, subject: SessionSubject, job: Job, notBefore?: UnixMs): Attempts<Job> {
    const { clock, ledger } = this.#modules;
    const fresh = newAttemptPlan(subject, clock.now(), ledger.value);
    const dueAt = Math.max(fresh.dueAt, notBefore ?? 0) as UnixMs;
    const attempts: Attempts<Job> = {
      job,
      subject,
      plan: { ...fresh, dueAt },
      session: null,
      observed: null,
    };
    batch.put(this.#all, key, attempts);
    return attempts;
  }

  /** No more attempts: there is a result, or nobody wants one. A session of it that still lives here ends. */
  remove(batch: Batch, key: Key): void {
    const attempts = this.#all.get(key);
    if (attempts === undefined) return;
    batch.remove(this.#all, key);
    batch.afterwards(() => {
      this.#timers.get(key)?.cancel();
      this.#timers.delete(key);
      const { session } = attempts;
      if (session !== null && this.#modules.sessions.has(session)) {
        unawaited(this.#modules.sessions.cancel(session, "closed"), this.#modules.report);
      }
    });
  }

  /** An attempt's session opens here. @param plan the plan that it follows from, where this node took its turn */
  began(batch: Batch, key: Key, proposal: Proposal, plan?: AttemptPlan): void {
    const attempts = this.#all.get(key);
    if (attempts === undefined) return;
    const until = this.#in(this.#options.timeouts.sessionMs);
    batch.put(this.#all, key, {
      ...attempts,
      plan: attemptBegan(plan ?? attempts.plan, proposal.attempt, until),
      session: proposal.sessionId,
    });
  }

  /** Others make an attempt: this node waits for what comes of it. */
  observe(batch: Batch, key: Key, { attempt, sessionId, signers }: Proposal): void {
    const attempts = this.#all.get(key);
    if (attempts === undefined) return;
    const { ackMs } = this.#options.timeouts;
    batch.put(this.#all, key, {
      ...attempts,
      plan: attemptBegan(attempts.plan, attempt, this.#in(ackMs)),
      observed: { session: sessionId, signers },
    });
    batch.afterwards(() => this.wake(key, ackMs));
  }

  /** Who is told how the attempt's session ends: this loop, which plans the next one, and then the desk. */
  owner(key: Key, proposal: Proposal, desk: AttemptOwner): SessionOwner {
    const { clock, ledger, standing } = this.#modules;
    return {
      progress: desk.progress ?? (() => {}),
      finished: (batch, result) => {
        batch.assign(ledger, endAttempt(ledger.value, proposal.sessionId));
        batch.assign(standing, standingAfterSuccess(standing.value, proposal.signers, clock.now()));
        desk.finished(batch, result);
      },
      ended: (batch, end) => {
        batch.assign(ledger, endAttempt(ledger.value, proposal.sessionId));
        batch.assign(standing, standingAfterFailure(standing.value, end.excluded, clock.now()));
        if (!this.#all.has(key)) return;
        this.#failed(batch, key, proposal.attempt, end.excluded);
        desk.failed(batch, end);
      },
    };
  }

  /** Takes the next look at once, or after `delayMs`. */
  wake(key: Key, delayMs = 0): void {
    this.#after(key, delayMs, () => unawaited(this.#turn(key), this.#modules.report));
  }

  /** Peers came or went: all that wait for them are looked at again. */
  wakeAll(): void {
    for (const key of this.#all.keys()) this.wake(key);
  }

  /** This node's turn could not be taken now. */
  wakeSoon(key: Key): void {
    this.wake(key, RECHECK_MS);
  }

  /** Calls `run` instead of the next look, as where what an attempt needs is not there yet. */
  retry(key: Key, delayMs: number, run: () => void): void {
    this.#after(key, delayMs, run);
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  async #turn(key: Key): Promise<void> {
    const { clock, driver, up, isOpen, propose } = this.#modules;
    if (!this.#all.has(key) || !(await isOpen(key))) return;
    const attempts = this.#all.get(key);
    if (attempts === undefined || attempts.session !== null) return;
    const decision = driver.decide(attempts.plan, attempts.subject, {
      me: this.#options.me,
      now: clock.now(),
      up: up(),
      settings: this.#options.attempts,
    });
    switch (decision.decision) {
      case "give-up":
        return;
      case "wait":
        return this.wake(key, decision.until - clock.now());
      case "propose":
        return propose(key, attempts, decision.plan, decision.attempt);
    }
  }

  #failed(batch: Batch, key: Key, attempt: number, excluded: readonly NodeIndex[]): void {
    const attempts = this.#all.get(key);
    if (attempts === undefined) return;
    const { plan, subject } = attempts;
    const now = this.#modules.clock.now();
    const next = attemptEnded(plan, attempt, excluded, now, subject, this.#options.attempts);
    batch.put(this.#all, key, { ...attempts, plan: next, session: null });
    batch.afterwards(() => this.wake(key));
  }

  #after(key: Key, delayMs: number, run: () => void): void {
    if (this.#closed) return;
    this.#timers.get(key)?.cancel();
    const timer = this.#modules.clock.after(Math.max(0, delayMs), () => {
      // A look may be asked for after its subject is gone: nothing else would ever forget its timer.
      if (this.#timers.get(key) === timer) this.#timers.delete(key);
      run();
    });
    this.#timers.set(key, timer);
  }

  #in(delayMs: number): UnixMs {
    return (this.#modules.clock.now() + delayMs) as UnixMs;
  }
}
