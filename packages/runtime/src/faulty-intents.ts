import type { Evidence, Intent, SignedVote, VotingEffect } from "@cairn/consensus";
import type { IntentHash, NodeIndex } from "@cairn/core";
import type { EarlyEvents } from "./early-events.ts";
import type { LiveSpends } from "./live-spends.ts";
import type { Batch } from "./loop.ts";
import type { WalletBook } from "./wallet-book.ts";

/** Records a fault that was seen about `subject`. */
export type RecordViolation = (
  batch: Batch,
  violation: Pick<Extract<VotingEffect, { kind: "violation" }>, "type" | "node" | "evidence">,
  subject: string,
) => void;

export interface FaultyIntentsModules {
  readonly wallets: Pick<WalletBook, "has" | "get">;
  readonly live: LiveSpends;
  readonly early: EarlyEvents;
  readonly violation: RecordViolation;
  /** Whether third parties will find the evidence to prove what it says. */
  readonly proves: (evidence: Evidence) => boolean;
}

/** Intents that are remembered. */
const MAX_KEPT = 16;

/** Intents that no honest node approves, so that whoever approves one is named (architecture §6, MinorityVote). */
export class FaultyIntents {
  readonly #me: NodeIndex;
  readonly #modules: FaultyIntentsModules;
  /** Oldest first. */
  readonly #faulty = new Map<IntentHash, Intent>();

  constructor(me: NodeIndex, modules: FaultyIntentsModules) {
    this.#me = me;
    this.#modules = modules;
  }

  has(hash: IntentHash): boolean {
    return this.#faulty.has(hash);
  }

  /** Remembers an intent whose fault everybody can see, and names those who have approved it. */
  add(batch: Batch, hash: IntentHash, intent: Intent): void {
    if (this.#faulty.has(hash)) return;
    batch.put(this.#faulty, hash, intent);
    const [oldest] = this.#faulty.keys();
    if (this.#faulty.size > MAX_KEPT && oldest !== undefined) batch.remove(this.#faulty, oldest);
    const rounds = this.#modules.live.get(hash)?.voting.tally.votes ?? new Map<number, never>();
    for (const votes of rounds.values()) for (const vote of votes.values()) this.accuse(batch, hash, vote);
    for (const vote of this.#modules.early.votes(hash)) this.accuse(batch, hash, vote);
  }

  /** An honest node checks before it approves. Whatever third parties could not see is no fault. */
  accuse(batch: Batch, hash: IntentHash, vote: SignedVote): void {
    const { wallets } = this.#modules;
    const intent = this.#faulty.get(hash);
    if (intent === undefined || !vote.body.approve || vote.body.voter === this.#me) return;
    const { manifestHash } = intent;
    const wallet = wallets.has(intent.wallet) ? wallets.get(intent.wallet).signed : null;
    const evidence: Evidence = { type: "MinorityVote", version: 1, manifestHash, intent, wallet, vote };
    if (!this.#modules.proves(evidence)) return;
    this.#modules.violation(batch, { type: "MinorityVote", node: vote.body.voter, evidence }, hash);
  }
}
