import { CairnError, type Clock, type GrantId, type NodeIndex } from "@cairn/core";

/** Proposals of one peer that may wait at a time. */
const MAX_PER_PEER = 32;

/** Proposals that came before the certificate that justifies them: the initiator may be faster than its peers. */
export class GrantWaiters {
  readonly #clock: Clock;
  readonly #waitMs: number;
  readonly #waiting = new Map<GrantId, Set<() => void>>();
  readonly #countOf = new Map<NodeIndex, number>();

  constructor(clock: Clock, waitMs: number) {
    this.#clock = clock;
    this.#waitMs = waitMs;
  }

  /** Resolves when the grant is there, or after a moment without it. @throws CairnError `rate-limited` */
  async wait(from: NodeIndex, grant: GrantId): Promise<void> {
    const count = this.#countOf.get(from) ?? 0;
    if (count >= MAX_PER_PEER) {
      throw new CairnError("rate-limited", "too many proposals for grants that this node does not hold", {
        node: from,
      });
    }
    this.#countOf.set(from, count + 1);
    const waiters = this.#waiting.get(grant) ?? new Set<() => void>();
    this.#waiting.set(grant, waiters);
    await new Promise<void>((resolve) => {
      const wake = () => {
        timer.cancel();
        waiters.delete(wake);
        if (waiters.size === 0) this.#waiting.delete(grant);
        this.#countOf.set(from, (this.#countOf.get(from) ?? 1) - 1);
        resolve();
      };
      const timer = this.#clock.after(this.#waitMs, wake);
      waiters.add(wake);
    });
  }

  /** The grant is there. */
  wake(grant: GrantId): void {
    for (const wake of [...(this.#waiting.get(grant) ?? [])]) wake();
  }

  /** Nobody waits any longer. */
  close(): void {
    for (const grant of [...this.#waiting.keys()]) this.wake(grant);
  }
}
