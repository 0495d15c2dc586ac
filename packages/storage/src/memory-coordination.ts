import { CairnError } from "@cairn/core";
import type { Coordination, CoordinationChange, CoordinationEntry, Leadership } from "./coordination.ts";
import type { CoordinationHub } from "./coordination-hub.ts";

/** One process's part in `hub`: the in-memory twin of a shared coordination store, for tests and simulation. */
export function openMemoryCoordination(hub: CoordinationHub, shared = true): Coordination {
  return new MemoryCoordination(hub, shared);
}

class MemoryCoordination implements Coordination {
  readonly shared: boolean;
  readonly #hub: CoordinationHub;
  readonly #watches = new Set<{ stop(): void }>();
  #closed = false;

  constructor(hub: CoordinationHub, shared: boolean) {
    this.#hub = hub;
    this.shared = shared;
  }

  async get(key: string): Promise<CoordinationEntry | null> {
    return this.#open().get(key);
  }

  async list(prefix: string): Promise<readonly CoordinationEntry[]> {
    return this.#open().list(prefix);
  }

  async put(key: string, value: string, options: { readonly ttlMs?: number } = {}): Promise<void> {
    this.#open().put(key, value, options.ttlMs);
  }

  async compareAndSwap(
    key: string,
    revision: number,
    value: string,
    options: { readonly ttlMs?: number } = {},
  ): Promise<boolean> {
    const hub = this.#open();
    if ((hub.get(key)?.revision ?? 0) !== revision) return false;
    hub.put(key, value, options.ttlMs);
    return true;
  }

  async remove(key: string): Promise<void> {
    this.#open().remove(key);
  }

  async watch(prefix: string, listener: (change: CoordinationChange) => void): Promise<{ stop(): void }> {
    const watch = this.#open().watch(prefix, listener);
    this.#watches.add(watch);
    return watch;
  }

  async campaign(election: string, options: { readonly signal?: AbortSignal } = {}): Promise<Leadership> {
    return this.#open().campaign(election, this, options.signal);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const watch of this.#watches) watch.stop();
    this.#hub.dismiss(this, closed());
  }

  #open(): CoordinationHub {
    if (this.#closed) throw closed();
    return this.#hub;
  }
}

function closed(): CairnError {
  return new CairnError("closed", "the coordination store is closed", {});
}
