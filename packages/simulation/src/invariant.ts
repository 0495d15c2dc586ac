import type { NodeIndex, TransactionRow, WalletId } from "@cairn/core";
import type { Observation } from "./observation.ts";
import type { World } from "./world.ts";

/** What holds at every moment of every run, whatever fails and whoever lies. */
export interface Invariant {
  readonly name: string;
  /** Judges what was just seen. @returns what is wrong, or null */
  see?(world: World, event: Observation): string | null;
  /** Judges a node that has just started by what its store gives back. */
  restarted?(world: World, found: Recovered): string | null;
  /** Judges the end of a run: faults were mended long ago, and all deadlines are over. */
  end?(world: World, facts: EndFacts): string | null;
}

/** What a node's store gives back after a start. */
export interface Recovered {
  readonly node: NodeIndex;
  readonly intents: ReadonlySet<string>;
  /** `intent/round` of the node's own approvals. */
  readonly approvals: ReadonlySet<string>;
  readonly certified: ReadonlySet<string>;
  readonly burned: ReadonlySet<string>;
  readonly bans: ReadonlySet<string>;
}

export interface EndFacts {
  /** Rows of each honest node. */
  readonly rows: ReadonlyMap<NodeIndex, readonly TransactionRow[]>;
  /** What each honest node still holds for payments that the chain has not seen. */
  readonly reserved: ReadonlyMap<NodeIndex, ReadonlyMap<WalletId, bigint>>;
  /** Requests that were acknowledged to a client after all was mended, and had every reason to be paid: by intent. */
  readonly probes: readonly string[];
}

/** A broken invariant. */
export interface Complaint {
  readonly invariant: string;
  readonly message: string;
  /** Milliseconds of virtual time. */
  readonly at: number;
}
