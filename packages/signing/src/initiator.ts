import { bodyHash, type HashHex, type NodeIndex, type Nonce } from "@cairn/core";

/** Orders that were asked for last: every attempt at a subject asks for its order several times. Oldest first. */
const known = new Map<string, readonly NodeIndex[]>();
const MOST_KNOWN = 256;

/**
 * `members` ordered by H(subject ‖ nonce ‖ index): who initiates which attempt follows from the grant. A receiver can try variants of its
 * intent until the order suits it: that decides who goes first, and nothing that a signature needs.
 */
export function initiatorOrder(
  subject: HashHex,
  nonce: Nonce,
  members: readonly NodeIndex[],
): readonly NodeIndex[] {
  const name = `${subject}/${nonce}/${members.join(",")}`;
  const before = known.get(name);
  if (before !== undefined) return before;
  const order = members
    .map((index) => ({ index, key: bodyHash<HashHex>("cairn/initiator/v1", { subject, nonce, index }) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ index }) => index);
  known.set(name, order);
  const [oldest] = known.keys();
  if (known.size > MOST_KNOWN && oldest !== undefined) known.delete(oldest);
  return order;
}

/** The one node that may initiate attempt `attempt`. */
export function initiatorOfAttempt(order: readonly NodeIndex[], attempt: number): NodeIndex | null {
  return order[attempt % order.length] ?? null;
}

/** Attempts below this number may be proposed at `now`: n at once, and one more with every slot that passes. */
export function attemptBound(input: {
  readonly members: number;
  readonly notBefore: number;
  readonly now: number;
  readonly slotMs: number;
}): number {
  return input.members + Math.max(0, Math.floor((input.now - input.notBefore) / input.slotMs));
}
