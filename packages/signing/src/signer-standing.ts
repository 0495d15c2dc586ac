import type { NodeIndex, UnixMs } from "@cairn/core";

/**
 * What this node remembers of its sessions with each member, over all subjects: who stood in sessions that failed. It decides whom this node
 * proposes first, never who may sign, and never a ban: a slow node fails sessions as a hostile one does.
 */
export type SignerStanding = ReadonlyMap<NodeIndex, { readonly points: number; readonly at: UnixMs }>;

export const emptyStanding: SignerStanding = new Map();

/** Failed sessions within minutes after which a node is preferred last. */
export const QUARANTINE_POINTS = 3;
/** Time in which half of what is held against a node is forgotten, so that one that was slow comes back into favour untried. */
export const STANDING_HALF_LIFE_MS = 10 * 60_000;
/** Points that no failures go beyond: however long a node was in the way, it is tried again within the hour. */
const MOST_POINTS = 32;
/** Points below which nothing is remembered. */
const FORGOTTEN = 0.25;

/** A session failed, and this node leaves out `excluded` for it. */
export function standingAfterFailure(
  standing: SignerStanding,
  excluded: readonly NodeIndex[],
  now: UnixMs,
): SignerStanding {
  return changed(standing, excluded, now, (points) => Math.min(MOST_POINTS, points + 1));
}

/** A session with these signers came to its result: half of what is held against each is forgotten. */
export function standingAfterSuccess(
  standing: SignerStanding,
  signers: readonly NodeIndex[],
  now: UnixMs,
): SignerStanding {
  return changed(standing, signers, now, (points) => points / 2);
}

/** The nodes that are preferred last at `now`. */
export function quarantined(standing: SignerStanding, now: UnixMs): ReadonlySet<NodeIndex> {
  return new Set(
    [...standing.keys()].filter((node) => pointsOf(standing, node, now) > QUARANTINE_POINTS - 1),
  );
}

function pointsOf(standing: SignerStanding, node: NodeIndex, now: UnixMs): number {
  const entry = standing.get(node);
  if (entry === undefined) return 0;
  // A clock that was set back forgets nothing and adds nothing.
  const halves = Math.max(0, now - entry.at) / STANDING_HALF_LIFE_MS;
  return entry.points * 2 ** -halves;
}

function changed(
  standing: SignerStanding,
  nodes: readonly NodeIndex[],
  now: UnixMs,
  change: (points: number) => number,
): SignerStanding {
  const next = new Map(standing);
  for (const node of nodes) {
    const points = change(pointsOf(standing, node, now));
    if (points < FORGOTTEN) next.delete(node);
    else next.set(node, { points, at: now });
  }
  return next;
}
