import {
  type Change,
  type ChangeCommit,
  type ChangeProposal,
  type ChangeRow,
  changeCommitSchema,
  changeProposalHash,
  decodeCanonical,
  type HashHex,
  manifestHash,
  type NodeIndex,
  type NodeStore,
  type SignedChangeProposal,
  type SignedChangeVote,
  signedChangeProposalSchema,
  signedChangeVoteSchema,
} from "@cairn/core";

/** A proposed change as this node knows it. */
export interface LiveChange {
  readonly row: ChangeRow;
  readonly signed: SignedChangeProposal;
  /** Each node's first word. */
  readonly votes: ReadonlyMap<NodeIndex, SignedChangeVote>;
}

/** More than a cluster ever has. */
const MAX_LASTING = 1_000_000;

/** Reads what the store holds of proposals that have not ended, and of the newest `limit` of all, oldest first. */
export async function storedChanges(
  store: Pick<NodeStore, "changes" | "changeVotes">,
  limit: number,
): Promise<readonly LiveChange[]> {
  const found: LiveChange[] = [];
  const lasting = await store.changes({ states: ["open", "committed", "in-force"], limit: MAX_LASTING });
  const newest = await store.changes({ limit });
  const rows = new Map([...lasting, ...newest].map((row) => [row.proposal, row]));
  for (const row of [...rows.values()].toSorted((a, b) => a.createdAt - b.createdAt)) {
    const votes = await store.changeVotes(row.proposal);
    found.push({
      row,
      signed: decodeCanonical(signedChangeProposalSchema, row.body),
      votes: new Map(
        votes.map(({ node, body }) => [node, decodeCanonical(signedChangeVoteSchema, body)] as const),
      ),
    });
  }
  return found;
}

/** What a change brings about: the same for all proposals of one change, so that these are no rivals. */
export function effectOf(proposal: ChangeProposal): HashHex {
  const { change } = proposal;
  return change.type === "manifest"
    ? (manifestHash(change.manifest) as string as HashHex)
    : changeProposalHash(proposal);
}

export function commitOf({ row }: LiveChange): ChangeCommit | null {
  return row.commit === null ? null : decodeCanonical(changeCommitSchema, row.commit);
}

/** Whether a change of this type replaces the manifest, so that only one of a sequence number may take effect. */
export function isSuccessor(change: Change): change is Extract<Change, { readonly type: "manifest" }> {
  return change.type === "manifest";
}
