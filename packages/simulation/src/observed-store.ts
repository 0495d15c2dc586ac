import type { NodeIndex, NodeStore } from "@cairn/core";
import { type MemoryDisk, type MemoryFault, openMemoryStore } from "@cairn/storage";
import type { Observer } from "./observation.ts";
import type { Life, VirtualTime } from "./virtual-time.ts";

export interface ObservedStoreModules {
  readonly disk: MemoryDisk;
  readonly life: Life;
  readonly time: VirtualTime;
  /** What befalls the next commit. */
  readonly fault: () => MemoryFault | null;
  /** How long the next commit takes to answer, in milliseconds. */
  readonly delayMs: () => number;
  readonly observe: Observer;
}

/** A node's store in memory, whose commits are seen, delayed and failed from outside. */
export function openObservedStore(node: NodeIndex, modules: ObservedStoreModules): NodeStore {
  const { disk, life, time, delayMs, observe } = modules;
  let fault: MemoryFault | null = null;
  const store = openMemoryStore({
    disk,
    fault: () => {
      fault = modules.fault();
      return fault;
    },
  });
  const watched = async <T>(work: Promise<T>, done: () => void): Promise<T> => {
    const struck = fault;
    fault = null;
    try {
      const value = await work;
      if (life.alive) done();
      const delay = delayMs();
      if (delay > 0) await time.wait(delay, life);
      return value;
    } catch (error) {
      if (struck === "unacknowledged") done();
      throw error;
    }
  };
  const commit = store.commit.bind(store);
  store.commit = (writes) => {
    if (writes.length === 0) return commit(writes);
    return watched(commit(writes), () => observe({ kind: "committed", node, writes }));
  };
  const burn = store.burn.bind(store);
  store.burn = (presignature, session, at) =>
    watched(burn(presignature, session, at), () => observe({ kind: "burned", node, presignature, session }));
  return store;
}
