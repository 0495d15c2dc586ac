import { bitcoinErrorReason } from "./bitcoin-error.ts";
import type { ChainSource, ChainTip, ScriptActivity } from "./chain-source.ts";

/** Blocks by which the last use of an address is buried before scans pass over it: deeper than reorganisations go. */
const BURIED_DEPTH = 6;
/**
 * Blocks, about two weeks, for which an address below the next index, that nobody ever paid to, is asked for at every
 * scan. Another program over the same descriptor may have shown it to a payer.
 */
const UNPAID_DEPTH = 2016;
/** Tips remembered: one a height, so that even with a scan a block the oldest lies deeper than {@link BURIED_DEPTH}. */
const MAX_TIPS = BURIED_DEPTH + 2;

/** An address that held no coins and had no transaction waiting at two looks, with nothing new between them. */
interface Quiet {
  /** Confirmed transactions that touch it, at both looks. */
  readonly transactions: number;
  /** Height of the tip after the first look: its transactions are in that block or below. The next scan learns it. */
  readonly since: number | undefined;
  /** Height of the tip before the last look. */
  readonly until: number;
}

/** What is remembered of one branch. */
export interface BranchMemory {
  /** By index; only below the branch's next index. */
  readonly quiet: ReadonlyMap<number, Quiet>;
  /** Index at which the slow round of resting addresses goes on. */
  readonly turn: number;
}

/** What a scan leaves to the next about addresses that need no question at each scan. */
export interface ScanMemory {
  /** Tips at which earlier scans began, lowest first, at most one a height. They tell a reorganisation from growth. */
  readonly tips: readonly ChainTip[];
  readonly branches: readonly [receive: BranchMemory, change: BranchMemory];
}

const nothing: BranchMemory = { quiet: new Map(), turn: 0 };

/** The memory of a wallet that was never scanned. */
export const emptyScanMemory: ScanMemory = { tips: [], branches: [nothing, nothing] };

/**
 * What of `memory` the chain as it is now bears out: looks whose block is above the last that both have in common are
 * forgotten, all of them where no remembered tip is left in the chain.
 */
export async function standingMemory(
  memory: ScanMemory,
  tip: ChainTip,
  chain: Pick<ChainSource, "blockHash">,
): Promise<ScanMemory> {
  const tips = [...memory.tips];
  for (let last = tips.at(-1); last !== undefined; last = tips.at(-1)) {
    if (await isInChain(last, tip, chain)) break;
    tips.pop();
  }
  const reorganised = tips.length < memory.tips.length;
  const height = tips.at(-1)?.height ?? -1;
  const standing = ({ quiet, turn }: BranchMemory): BranchMemory => {
    const kept = new Map<number, Quiet>();
    for (const [index, look] of quiet) {
      // The last scan's answers may know of blocks above the tip at which it began, but of none above the tip now; where
      // the former has gone, they may be of either chain.
      if (!reorganised) kept.set(index, { ...look, since: look.since ?? tip.height });
      else if (look.since !== undefined && look.since <= height) kept.set(index, look);
    }
    return { quiet: kept, turn };
  };
  const [receive, change] = memory.branches;
  return { tips, branches: [standing(receive), standing(change)] };
}

/** Whether a block is still in the best chain. Where sources can't agree, it is taken to have gone. */
async function isInChain(
  block: ChainTip,
  tip: ChainTip,
  chain: Pick<ChainSource, "blockHash">,
): Promise<boolean> {
  if (block.height === tip.height && block.hash === tip.hash) return true;
  if (block.height >= tip.height) return false;
  try {
    return (await chain.blockHash(block.height)) === block.hash;
  } catch (error) {
    if (bitcoinErrorReason(error) === "chain-sources-disagree") return false;
    throw error;
  }
}

/**
 * The indexes of a branch that a scan need not ask for, and where the round goes on. `perScan` of the resting addresses
 * have their turn in this scan, so each has one at least every ⌈resting / perScan⌉ scans.
 *
 * @param everUsed indexes that were ever seen used
 */
export function restingIndexes(
  { quiet, turn }: BranchMemory,
  everUsed: ReadonlySet<number>,
  perScan: number,
): { readonly resting: ReadonlySet<number>; readonly turn: number } {
  const buried = [...quiet]
    .filter(
      ([index, { since, until }]) =>
        since !== undefined && until - since >= (everUsed.has(index) ? BURIED_DEPTH : UNPAID_DEPTH),
    )
    .map(([index]) => index)
    .sort((a, b) => a - b);
  const first = buried.findIndex((index) => index >= turn);
  const ordered = first < 0 ? buried : [...buried.slice(first), ...buried.slice(0, first)];
  const last = ordered.slice(0, perScan).at(-1);
  return { resting: new Set(ordered.slice(perScan)), turn: last === undefined ? 0 : last + 1 };
}

/** What a scan saw of one branch. */
export interface BranchLook {
  /** Answers by index, of all that were asked for. */
  readonly seen: ReadonlyMap<number, ScriptActivity>;
  /** The branch's next index after the scan. */
  readonly next: number;
  readonly turn: number;
}

/** The memory after a scan that stood on `memory` and began at `tip`. */
export function scanMemoryAfter(
  memory: ScanMemory,
  looks: readonly [receive: BranchLook, change: BranchLook],
  tip: ChainTip,
): ScanMemory {
  const branchAfter = (branch: 0 | 1): BranchMemory => {
    const { seen, next, turn } = looks[branch];
    const quiet = new Map(memory.branches[branch].quiet);
    for (const [index, { settled, utxos }] of seen) {
      const known = quiet.get(index);
      quiet.delete(index);
      if (settled === undefined || utxos.length > 0 || index >= next) continue;
      const since = known?.transactions === settled ? known.since : undefined;
      quiet.set(index, { transactions: settled, since, until: tip.height });
    }
    return { quiet, turn };
  };
  const tips = [...memory.tips.filter(({ height }) => height < tip.height), tip].slice(-MAX_TIPS);
  return { tips, branches: [branchAfter(0), branchAfter(1)] };
}
