import type { Clock } from "@cairn/core";
import type { AuditFact } from "./loop.ts";

/** What others can cause at will: everything else in the log follows from what this node itself did. */
const boundedKinds: ReadonlySet<string> = new Set(["message-refused", "proposal-refused", "request-refused"]);
const WINDOW_MS = 60_000;
/** Entries of these kinds in a window that one peer, or all callers of the API together, can cause. */
const MOST = 120;

/** Keeps outsiders from filling the log: refusals beyond a bound are counted, and the next one that is recorded says how many. */
export class AuditQuota {
  readonly #clock: Clock;
  readonly #used = new Map<string, { readonly since: number; count: number; suppressed: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The fact as it goes into the log, or null where it is only counted. */
  admit(fact: AuditFact): AuditFact | null {
    if (!boundedKinds.has(fact.kind)) return fact;
    const who = String(fact.data.from ?? "api");
    const now = this.#clock.monotonic();
    let used = this.#used.get(who);
    let missed = 0;
    if (used === undefined || now - used.since >= WINDOW_MS) {
      missed = used?.suppressed ?? 0;
      used = { since: now, count: 0, suppressed: 0 };
      this.#used.set(who, used);
    }
    used.count += 1;
    if (used.count > MOST) {
      used.suppressed += 1;
      return null;
    }
    return missed === 0 ? fact : { ...fact, data: { ...fact.data, unrecordedBefore: missed } };
  }
}
