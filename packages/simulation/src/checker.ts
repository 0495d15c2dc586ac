import type { Complaint, EndFacts, Invariant, Recovered } from "./invariant.ts";
import { approvalsBeforeVote } from "./invariants/approvals-before-vote.ts";
import { certificateBeforeSignature } from "./invariants/certificate-before-signature.ts";
import { everyRequestEnds } from "./invariants/every-request-ends.ts";
import { honestUnbanned } from "./invariants/honest-unbanned.ts";
import { limitsHold } from "./invariants/limits-hold.ts";
import { nothingBreaks } from "./invariants/nothing-breaks.ts";
import { nothingForgotten } from "./invariants/nothing-forgotten.ts";
import { onePayment } from "./invariants/one-payment.ts";
import { singleUse } from "./invariants/single-use.ts";
import type { Observation } from "./observation.ts";
import type { World } from "./world.ts";

/** All that must hold, with nothing seen yet. */
export function allInvariants(): Invariant[] {
  return [
    certificateBeforeSignature(),
    approvalsBeforeVote(),
    singleUse(),
    onePayment(),
    limitsHold(),
    honestUnbanned(),
    everyRequestEnds(),
    nothingForgotten(),
    nothingBreaks(),
  ];
}

/** Judges everything that is seen, at once, and keeps the first complaint. */
export class Checker {
  readonly world: World;
  readonly #invariants: readonly Invariant[];
  complaint: Complaint | null = null;

  constructor(world: World, invariants: readonly Invariant[] = allInvariants()) {
    this.world = world;
    this.#invariants = invariants;
  }

  see(event: Observation, now: number): void {
    this.world.see(event, now);
    this.#ask((invariant) => invariant.see?.(this.world, event) ?? null);
  }

  restarted(found: Recovered): void {
    this.#ask((invariant) => invariant.restarted?.(this.world, found) ?? null);
  }

  end(facts: EndFacts): void {
    this.#ask((invariant) => invariant.end?.(this.world, facts) ?? null);
  }

  /** A run that never comes to an end. */
  endless(steps: number): void {
    const message = `after ${steps} steps there is still something to do at this moment`;
    this.complaint ??= { invariant: "every-request-ends", message, at: this.world.now };
  }

  #ask(judge: (invariant: Invariant) => string | null): void {
    if (this.complaint !== null) return;
    for (const invariant of this.#invariants) {
      const message = judge(invariant);
      if (message === null) continue;
      this.complaint = { invariant: invariant.name, message, at: this.world.now };
      return;
    }
  }
}
