import type { NodeIndex } from "@cairn/core";
import { FIRST_ROUND, MAX_ROUNDS } from "./vote.ts";
import type { Rejection, Tally } from "./voting-state.ts";

/** Distinct voters that rejected in any round, ascending, with their first reason: such reasons do not change between rounds. */
export function rejections(tally: Tally): Rejection[] {
  const found = new Map<NodeIndex, Rejection>();
  for (let round = FIRST_ROUND; round <= MAX_ROUNDS; round += 1) {
    for (const { body } of tally.votes.get(round)?.values() ?? []) {
      if (body.reason === null || found.has(body.voter) || tally.disregarded.has(body.voter)) continue;
      found.set(body.voter, { node: body.voter, reason: body.reason });
    }
  }
  return [...found.values()].toSorted((a, b) => a.node - b.node);
}
