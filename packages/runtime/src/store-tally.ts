import { encodeVote, type SignedVote, type Tally } from "@cairn/consensus";
import { encodeCanonical, type UnixMs } from "@cairn/core";
import type { Batch } from "./loop.ts";

/** Stores the votes and voids that a step of voting took in. */
export function storeTally(batch: Batch, before: Tally, after: Tally, now: UnixMs): void {
  if (before === after) return;
  for (const [round, votes] of after.votes) {
    const known = before.votes.get(round);
    for (const [voter, vote] of votes) if (known?.has(voter) !== true) storeVote(batch, vote, now);
  }
  for (const [node, signed] of after.voids) {
    if (before.voids.has(node)) continue;
    batch.write({
      write: "void",
      row: { intent: signed.body.intentHash, node, body: encodeCanonical(signed) },
    });
  }
}

/** Stores one vote; the store keeps the first of each voter and round. */
export function storeVote(batch: Batch, vote: SignedVote, receivedAt: UnixMs): void {
  const { intentHash: intent, round, voter, approve, reason } = vote.body;
  batch.write({
    write: "vote",
    row: {
      intent,
      round,
      voter,
      approve,
      reason: reason?.code ?? null,
      signature: vote.signature,
      body: encodeVote(vote),
      receivedAt,
    },
  });
}
