import {
  type ChangeCommit,
  changeProposalHash,
  encodeCanonical,
  type NodeIndex,
  type SignedChangeVote,
} from "@cairn/core";
import type { LiveChange } from "./live-change.ts";
import type { Batch } from "./loop.ts";
import type { ManifestBook } from "./manifest-book.ts";
import { otherMembers } from "./other-members.ts";
import { peerMessage } from "./peer-message.ts";

/** What a node tells all others of proposed changes, posted in the batch that makes it durable. */
export class ChangePosts {
  readonly #me: NodeIndex;
  readonly #book: Pick<ManifestBook, "manifest">;

  constructor(options: { readonly me: NodeIndex; readonly book: Pick<ManifestBook, "manifest"> }) {
    this.#me = options.me;
    this.#book = options.book;
  }

  proposal(batch: Batch, { row }: LiveChange): void {
    batch.post(this.#others(), `change/${row.proposal}`, peerMessage("change", row.body));
  }

  /** A node's vote, to all but that node. */
  vote(batch: Batch, vote: SignedChangeVote): void {
    const { node, proposal } = vote.body;
    const others = this.#others().filter((to) => to !== node);
    batch.post(others, `change-vote/${proposal}/${node}`, peerMessage("change-vote", encodeCanonical(vote)));
  }

  /** A change that is in force here. */
  commit(batch: Batch, commit: ChangeCommit): void {
    const id = `change-commit/${changeProposalHash(commit.proposal.body)}`;
    batch.post(this.#others(), id, peerMessage("change-commit", encodeCanonical(commit)));
  }

  #others(): readonly NodeIndex[] {
    return otherMembers(this.#book.manifest, this.#me);
  }
}
