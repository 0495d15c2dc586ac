import { type ChainSource, encodeUnsignedTransaction, parseTransaction } from "@cairn/bitcoin";
import { CairnError, type NodeIndex } from "@cairn/core";
import type { Observer } from "./observation.ts";
import type { SeededRandom } from "./seeded-random.ts";
import type { Life, VirtualTime } from "./virtual-time.ts";

/** How a node's chain source treats it. */
export interface ChainMood {
  /** Every question fails. */
  down: boolean;
  /** Longest answer time in milliseconds. */
  slowestMs: number;
}

export interface SimulatedChainModules {
  readonly chain: ChainSource;
  readonly time: VirtualTime;
  readonly life: Life;
  readonly random: SeededRandom;
  readonly mood: ChainMood;
  readonly observe: Observer;
}

/** One node's view of the chain that all share: it answers after a while, or not at all. */
export function simulatedChain(node: NodeIndex, modules: SimulatedChainModules): ChainSource {
  const { chain, time, life, random, mood, observe } = modules;
  const answered = async <T>(ask: () => Promise<T>): Promise<T> => {
    await time.wait(random.between(1, mood.slowestMs), life);
    if (mood.down)
      throw new CairnError("chain-unavailable", "no chain source can be reached; check them", {});
    return ask();
  };
  return {
    tip: () => answered(() => chain.tip()),
    blockHash: (height) => answered(() => chain.blockHash(height)),
    scriptActivity: (script) => answered(() => chain.scriptActivity(script)),
    transactionStatus: (txid) => answered(() => chain.transactionStatus(txid)),
    outspend: (outpoint) => answered(() => chain.outspend(outpoint)),
    rawTransaction: (txid) => answered(async () => withoutSignatures(await chain.rawTransaction(txid))),
    inclusion: (txid) => answered(() => chain.inclusion(txid)),
    feeEstimates: () => answered(() => chain.feeEstimates()),
    broadcast: (raw) => {
      if (life.alive) observe({ kind: "broadcast", node, raw });
      return answered(() => chain.broadcast(raw));
    },
  };
}

/** The engine's randomness is in signatures alone: without them a transaction's bytes, and so what is built on it, follow from the seed. */
function withoutSignatures(raw: Uint8Array): Uint8Array {
  const parsed = parseTransaction(raw);
  return parsed.witnesses.some((stack) => stack.length > 0) ? encodeUnsignedTransaction(parsed) : raw;
}
