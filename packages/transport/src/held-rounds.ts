import type { Clock, Envelope, NodeIndex, SessionId, Timer } from "@cairn/core";

/** A round message that came before this node knew the keys of its session. */
export interface HeldRound {
  readonly from: NodeIndex;
  readonly session: SessionId;
  readonly envelope: Envelope;
}

export interface HeldRoundsOptions {
  readonly maxBytesPerPeer: number;
  readonly holdMs: number;
}

interface Entry extends HeldRound {
  readonly timer: Timer;
}

/**
 * Round messages of keygen sessions that arrived before the session's Start did: the Start comes from the initiator, the first
 * round from any signer, so the second may overtake the first. They wait a short while, bounded in bytes a peer.
 */
export class HeldRounds {
  readonly #options: HeldRoundsOptions;
  readonly #clock: Clock;
  readonly #expired: (held: HeldRound) => void;
  readonly #entries = new Set<Entry>();
  readonly #bytes = new Map<NodeIndex, number>();

  constructor(
    options: HeldRoundsOptions,
    modules: { readonly clock: Clock; readonly expired: (held: HeldRound) => void },
  ) {
    this.#options = options;
    this.#clock = modules.clock;
    this.#expired = modules.expired;
  }

  /** @returns false when the peer has too much held already */
  hold(held: HeldRound): boolean {
    const bytes = (this.#bytes.get(held.from) ?? 0) + held.envelope.ciphertext.length;
    if (bytes > this.#options.maxBytesPerPeer) return false;
    this.#bytes.set(held.from, bytes);
    const entry: Entry = {
      ...held,
      timer: this.#clock.after(this.#options.holdMs, () => {
        this.#remove(entry);
        this.#expired(held);
      }),
    };
    this.#entries.add(entry);
    return true;
  }

  /** Takes out what was held of `session`, in the order of arrival. */
  take(session: SessionId): readonly HeldRound[] {
    const taken = [...this.#entries].filter((entry) => entry.session === session);
    for (const entry of taken) this.#remove(entry);
    return taken;
  }

  clear(): void {
    for (const entry of this.#entries) this.#remove(entry);
  }

  #remove(entry: Entry): void {
    entry.timer.cancel();
    this.#entries.delete(entry);
    this.#bytes.set(entry.from, (this.#bytes.get(entry.from) ?? 0) - entry.envelope.ciphertext.length);
  }
}
