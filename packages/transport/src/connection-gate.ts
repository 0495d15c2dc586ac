import { TokenBucket } from "./token-bucket.ts";

export interface ConnectionGateOptions {
  /** Connections of strangers that have not completed HELLO, of all their addresses together. */
  readonly maxPendingStrangers: number;
  /** Connections that have not completed HELLO, of one remote address. */
  readonly maxPendingPerAddress: number;
  /** New connections of strangers a second, of all their addresses together; bursts to twice that. */
  readonly strangersPerSecond: number;
  /** New connections a second from one remote address; bursts to twice that. */
  readonly attemptsPerSecond: number;
}

const MAX_ADDRESSES = 1024;

interface Visitor {
  readonly attempts: TokenBucket;
  pending: number;
}

/**
 * Bounds what strangers can make a node do before they have proved who they are: handshakes cost signatures. Strangers share what all of
 * them may have; each address where a member may be has a share of its own, which no crowd elsewhere can use up.
 */
export class ConnectionGate {
  readonly #options: ConnectionGateOptions;
  readonly #visitors = new Map<string, Visitor>();
  readonly #strangers: Visitor;

  /** @param now monotonic milliseconds */
  constructor(options: ConnectionGateOptions, now: number) {
    this.#options = options;
    this.#strangers = newVisitor(options.strangersPerSecond, now);
  }

  /**
   * Asks to begin a handshake.
   * @param expected whether a member may be at this address
   * @param now monotonic milliseconds
   * @returns what to call, once, when the handshake has ended either way; null when the connection must be dropped
   */
  enter(address: string, expected: boolean, now: number): (() => void) | null {
    const { maxPendingStrangers, maxPendingPerAddress, attemptsPerSecond } = this.#options;
    const crowd = expected ? null : this.#strangers;
    if (crowd !== null && crowd.pending >= maxPendingStrangers) return null;
    const visitor = this.#visitors.get(address) ?? newVisitor(attemptsPerSecond, now);
    this.#remember(address, visitor);
    if (visitor.pending >= maxPendingPerAddress) return null;
    // The address first: who knocks too often must not use up what all strangers share.
    if (!visitor.attempts.tryTake(now)) return null;
    if (crowd !== null && !crowd.attempts.tryTake(now)) return null;
    visitor.pending++;
    if (crowd !== null) crowd.pending++;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      visitor.pending--;
      if (crowd !== null) crowd.pending--;
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

function newVisitor(perSecond: number, now: number): Visitor {
  return { attempts: new TokenBucket({ perSecond, burst: 2 * perSecond }, now), pending: 0 };
}
