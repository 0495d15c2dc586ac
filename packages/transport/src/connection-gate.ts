import { TokenBucket } from "./token-bucket.ts";

export interface ConnectionGateOptions {
  /** Connections that have not completed HELLO, in all. */
  readonly maxPending: number;
  /** The same for one remote address. */
  readonly maxPendingPerAddress: number;
  /** New connections a second from one remote address; bursts to twice that. */
  readonly attemptsPerSecond: number;
}

const MAX_ADDRESSES = 1024;

interface Visitor {
  readonly attempts: TokenBucket;
  pending: number;
}

/** Bounds what strangers can make a node do before they have proved who they are: handshakes cost signatures. */
export class ConnectionGate {
  readonly #options: ConnectionGateOptions;
  readonly #visitors = new Map<string, Visitor>();
  #pending = 0;

  constructor(options: ConnectionGateOptions) {
    this.#options = options;
  }

  /**
   * Asks to begin a handshake.
   * @param now monotonic milliseconds
   * @returns what to call, once, when the handshake has ended either way; null when the connection must be dropped
   */
  enter(address: string, now: number): (() => void) | null {
    const { maxPending, maxPendingPerAddress, attemptsPerSecond } = this.#options;
    const visitor = this.#visitors.get(address) ?? {
      attempts: new TokenBucket({ perSecond: attemptsPerSecond, burst: 2 * attemptsPerSecond }, now),
      pending: 0,
    };
    this.#remember(address, visitor);
    if (this.#pending >= maxPending || visitor.pending >= maxPendingPerAddress) return null;
    if (!visitor.attempts.tryTake(now)) return null;
    this.#pending++;
    visitor.pending++;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#pending--;
      visitor.pending--;
    };
  }

  #remember(address: string, visitor: Visitor): void {
    this.#visitors.delete(address);
    this.#visitors.set(address, visitor);
    if (this.#visitors.size <= MAX_ADDRESSES) return;
    for (const [oldest, { pending }] of this.#visitors) {
      if (pending > 0) continue;
      this.#visitors.delete(oldest);
      return;
    }
  }
}
