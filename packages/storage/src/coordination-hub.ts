import type { Clock, Timer } from "@cairn/core";
import type { CoordinationChange, CoordinationEntry, Leadership } from "./coordination.ts";

interface Kept {
  readonly entry: CoordinationEntry;
  readonly expiry: Timer | null;
}

interface Candidate {
  readonly member: object;
  readonly start: (leadership: Leadership) => void;
  readonly fail: (cause: unknown) => void;
}

interface Term {
  readonly member: object;
  readonly end: () => void;
}

/** What several {@link openMemoryCoordination} of one process share, as processes share an etcd. */
export class CoordinationHub {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Kept>();
  readonly #listeners = new Set<{
    readonly prefix: string;
    readonly tell: (change: CoordinationChange) => void;
  }>();
  readonly #lines = new Map<string, Candidate[]>();
  readonly #terms = new Map<string, Term>();
  #revision = 0;

  constructor(modules: { readonly clock: Clock }) {
    this.#clock = modules.clock;
  }

  get(key: string): CoordinationEntry | null {
    return this.#entries.get(key)?.entry ?? null;
  }

  list(prefix: string): readonly CoordinationEntry[] {
    return [...this.#entries.values()]
      .map(({ entry }) => entry)
      .filter((entry) => entry.key.startsWith(prefix))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  put(key: string, value: string, ttlMs?: number): void {
    this.#entries.get(key)?.expiry?.cancel();
    this.#revision += 1;
    const entry = { key, value, revision: this.#revision };
    const expiry =
      ttlMs === undefined ? null : this.#clock.after(ttlMs, () => this.#expire(key, entry.revision));
    this.#entries.set(key, { entry, expiry });
    this.#tell(key, { change: "put", entry });
  }

  remove(key: string): void {
    const kept = this.#entries.get(key);
    if (kept === undefined) return;
    kept.expiry?.cancel();
    this.#entries.delete(key);
    this.#revision += 1;
    this.#tell(key, { change: "removed", key, revision: this.#revision });
  }

  watch(prefix: string, tell: (change: CoordinationChange) => void): { stop(): void } {
    const listener = { prefix, tell };
    this.#listeners.add(listener);
    return { stop: () => void this.#listeners.delete(listener) };
  }

  campaign(election: string, member: object, signal: AbortSignal | undefined): Promise<Leadership> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#leave(election, candidate);
        reject(signal?.reason);
      };
      const candidate: Candidate = {
        member,
        start: (leadership) => {
          signal?.removeEventListener("abort", leave);
          resolve(leadership);
        },
        fail: (cause) => {
          signal?.removeEventListener("abort", leave);
          reject(cause);
        },
      };
      signal?.addEventListener("abort", leave, { once: true });
      this.#lines.set(election, [...(this.#lines.get(election) ?? []), candidate]);
      this.#elect(election);
    });
  }

  /** Ends the terms of `member`, takes it out of every line and refuses what it still waits for. */
  dismiss(member: object, cause: unknown): void {
    for (const [election, line] of this.#lines) {
      for (const candidate of line.filter((waiting) => waiting.member === member)) {
        this.#leave(election, candidate);
        candidate.fail(cause);
      }
    }
    for (const term of [...this.#terms.values()]) if (term.member === member) term.end();
  }

  #leave(election: string, candidate: Candidate): void {
    const line = this.#lines.get(election) ?? [];
    this.#lines.set(
      election,
      line.filter((other) => other !== candidate),
    );
  }

  #elect(election: string): void {
    const [first, ...rest] = this.#lines.get(election) ?? [];
    if (first === undefined || this.#terms.has(election)) return;
    this.#lines.set(election, rest);
    this.#revision += 1;
    const lost = new AbortController();
    const term: Term = {
      member: first.member,
      end: () => {
        if (lost.signal.aborted) return;
        this.#terms.delete(election);
        lost.abort();
        this.#elect(election);
      },
    };
    this.#terms.set(election, term);
    first.start({ fence: this.#revision, lost: lost.signal, resign: async () => term.end() });
  }

  #expire(key: string, revision: number): void {
    if (this.#entries.get(key)?.entry.revision === revision) this.remove(key);
  }

  #tell(key: string, change: CoordinationChange): void {
    for (const { prefix, tell } of [...this.#listeners]) if (key.startsWith(prefix)) tell(change);
  }
}
