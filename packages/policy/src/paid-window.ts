import { type Policy, type Sats, sha256Hex, type UnixMs } from "@cairn/core";
import { ROLLING_WINDOW_MS } from "./rolling-window.ts";
import { TimedSums } from "./timed-sums.ts";

/** What settled lineages paid. They never give way, and leave each window as time passes. */
export interface PaidHistory {
  /** How many were reserved after `from`, and what they come to, fee allowance included. */
  since(from: UnixMs): { readonly count: number; readonly sats: bigint };
  /** What lineages that were reserved after `from` paid to an address. */
  to(address: string, from: UnixMs): bigint;
}

/** A lineage that was paid for good. */
export interface PaidLineage {
  readonly reservedAt: UnixMs;
  readonly amountSats: Sats;
  readonly destinations: readonly { readonly address: string; readonly amountSats: Sats }[];
}

/** How far back a policy looks, in milliseconds. */
export function policyWindow({ rateLimit }: Policy): number {
  return Math.max(ROLLING_WINDOW_MS, rateLimit?.windowMs ?? 0);
}

/** All lineages together. */
const ALL = 0;

/** The settled lineages that a policy looks back on: some 50 bytes each, and none for longer than its window. */
export class PaidWindow implements PaidHistory {
  readonly #all = new TimedSums();
  readonly #byAddress = new TimedSums();

  /** @param windowMs how far back the policy looks */
  add({ reservedAt, amountSats, destinations }: PaidLineage, now: UnixMs, windowMs: number): void {
    this.#all.add(ALL, reservedAt, amountSats, now - windowMs);
    for (const { address, amountSats: received } of destinations) {
      this.#byAddress.add(keyOf(address), reservedAt, received, now - ROLLING_WINDOW_MS);
    }
  }

  since(from: UnixMs): { readonly count: number; readonly sats: bigint } {
    const { count, amount } = this.#all.since(ALL, from);
    return { count, sats: amount };
  }

  to(address: string, from: UnixMs): bigint {
    return this.#byAddress.since(keyOf(address), from).amount;
  }
}

/** 52 bits of a hash stand for an address: two that share them would be limited together, which is never too lax. */
function keyOf(address: string): number {
  return Number.parseInt(sha256Hex(new TextEncoder().encode(address)).slice(0, 13), 16);
}
