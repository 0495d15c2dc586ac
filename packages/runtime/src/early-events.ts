import { type SignedVote, sameVote, type VotingEvent } from "@cairn/consensus";
import { CairnError, type Clock, type IntentHash, type NodeIndex, type UnixMs } from "@cairn/core";
import type { Batch } from "./loop.ts";
import { storeVote } from "./store-tally.ts";

/** Something about an intent that has not arrived yet. */
export interface EarlyEvent {
  readonly from: NodeIndex;
  readonly event: VotingEvent;
  readonly at: UnixMs;
}

/** Events kept a peer, and for how long. */
const MAX_PER_PEER = 256;
const LIFE_MS = 10 * 60_000;

/** Votes, voids and the like that are faster than their intent: kept a while, so many of each peer. */
export class EarlyEvents {
  readonly #clock: Clock;
  readonly #kept = new Map<IntentHash, readonly EarlyEvent[]>();
  readonly #countOf = new Map<NodeIndex, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Votes about the intent that are kept. */
  votes(hash: IntentHash): readonly SignedVote[] {
    return (this.#kept.get(hash) ?? []).flatMap(({ event }) => (event.kind === "vote" ? [event.vote] : []));
  }

  /** Keeps an event, once. @throws CairnError `rate-limited` */
  keep(batch: Batch, hash: IntentHash, from: NodeIndex, event: VotingEvent): void {
    const kept = this.#kept.get(hash) ?? [];
    if (kept.some((entry) => entry.from === from && isSame(entry.event, event))) return;
    const now = this.#clock.now();
    if ((this.#countOf.get(from) ?? 0) >= MAX_PER_PEER) this.#makeRoom(batch, from, now);
    const count = this.#countOf.get(from) ?? 0;
    if (count >= MAX_PER_PEER) {
      throw new CairnError("rate-limited", "too many messages about intents that are not known here", {
        node: from,
      });
    }
    // The store keeps one vote of a voter and round; a second one that differs is evidence as soon as the intent is here.
    if (event.kind === "vote" && !kept.some((entry) => isVoteOf(entry.event, event.vote)))
      storeVote(batch, event.vote, now);
    batch.put(this.#countOf, from, count + 1);
    batch.put(this.#kept, hash, [...kept, { from, event, at: now }]);
  }

  /** The intent is here: hands over what was kept for it, oldest first. */
  take(batch: Batch, hash: IntentHash): readonly EarlyEvent[] {
    const kept = this.#kept.get(hash) ?? [];
    for (const { from } of kept) batch.put(this.#countOf, from, (this.#countOf.get(from) ?? 1) - 1);
    batch.remove(this.#kept, hash);
    return kept;
  }

  /** What never found its intent makes room. */
  #makeRoom(batch: Batch, from: NodeIndex, now: UnixMs): void {
    let count = 0;
    for (const [hash, kept] of this.#kept) {
      const left = kept.filter((entry) => entry.from !== from || entry.at + LIFE_MS > now);
      count += left.filter((entry) => entry.from === from).length;
      if (left.length === kept.length) continue;
      if (left.length === 0) batch.remove(this.#kept, hash);
      else batch.put(this.#kept, hash, left);
    }
    batch.put(this.#countOf, from, count);
  }
}

function isSame(kept: VotingEvent, event: VotingEvent): boolean {
  if (event.kind === "vote") return kept.kind === "vote" && sameVote(kept.vote.body, event.vote.body);
  return kept.kind === event.kind;
}

/** Whether the event is a vote of the same voter and round. */
function isVoteOf(event: VotingEvent, { body }: SignedVote): boolean {
  return (
    event.kind === "vote" && event.vote.body.voter === body.voter && event.vote.body.round === body.round
  );
}
