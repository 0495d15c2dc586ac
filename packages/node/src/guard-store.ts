import { CairnError, type NodeStore } from "@cairn/core";

export interface GuardedStore {
  readonly store: NodeStore;
  /** False from a write that found the disk full until one succeeds. */
  readonly writable: () => boolean;
}

/**
 * `store`, watched: `failed` hears the first error after which nothing can be said any more about what is on the disk. Such a store
 * refuses everything from then on, and so the node has to end: only a start reads what was kept.
 */
export function guardStore(store: NodeStore, failed: (error: CairnError) => void): GuardedStore {
  let full = false;
  let reported = false;
  const notice = (cause: unknown): void => {
    if (!(cause instanceof CairnError)) return;
    if (cause.code === "storage-full") full = true;
    if (reported || (cause.code !== "storage-failed" && cause.code !== "storage-corrupt")) return;
    reported = true;
    failed(cause);
  };
  const writing = new Set<PropertyKey>(["commit", "burn"]);
  const guarded = new Proxy(store, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name, target);
      if (typeof method !== "function") return method;
      return async (...words: unknown[]): Promise<unknown> => {
        try {
          const answer: unknown = await method.apply(target, words);
          if (writing.has(name)) full = false;
          return answer;
        } catch (cause) {
          notice(cause);
          throw cause;
        }
      };
    },
  });
  return { store: guarded, writable: () => !full };
}
