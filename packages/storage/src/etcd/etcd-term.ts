import type { Clock, Timer } from "@cairn/core";
import type { Lease, Namespace } from "etcd3";
import type { Leadership } from "../coordination.ts";

/**
 * A candidate's lease: alive for as long as this process can be sure of it by its own clock, counted from when it last asked etcd
 * to prolong it. Etcd may know of its end later, never sooner.
 */
export class EtcdTerm {
  readonly #lost = new AbortController();
  readonly #lease: Lease;
  readonly #ttlMs: number;
  readonly #clock: Clock;
  #askedAt: number | null = null;
  #end: Timer;

  constructor(keys: Namespace, ttlSeconds: number, clock: Clock) {
    this.#clock = clock;
    this.#ttlMs = ttlSeconds * 1_000;
    this.#end = clock.after(this.#ttlMs, () => this.#lose());
    this.#lease = keys.lease(ttlSeconds);
    this.#lease
      .on("keepaliveFired", () => {
        this.#askedAt ??= clock.monotonic();
      })
      .on("keepaliveSucceeded", () => this.#prolong())
      .on("lost", () => this.#lose());
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /**
   * Writes the candidate's entry.
   * @returns its place in line: the revision at which it was created
   */
  async enter(keys: Namespace, election: string): Promise<number> {
    const key = `${election}${await this.#lease.grant()}`;
    await this.#lease.put(key).value("").exec();
    const { kvs } = await keys.get(key).exec();
    return Number(kvs[0]?.create_revision ?? Number.NaN);
  }

  leadership(place: number): Leadership {
    return { fence: place, lost: this.lost, resign: () => this.resign() };
  }

  /** Ends the term at once here; at etcd now, or when the lease runs out if it can't be reached. */
  async resign(): Promise<void> {
    this.#lose();
    await this.#lease.revoke();
  }

  #prolong(): void {
    if (this.#askedAt === null || this.lost.aborted) return;
    const left = this.#ttlMs - (this.#clock.monotonic() - this.#askedAt);
    this.#askedAt = null;
    this.#end.cancel();
    if (left <= 0) this.#lose();
    else this.#end = this.#clock.after(left, () => this.#lose());
  }

  #lose(): void {
    this.#end.cancel();
    this.#lost.abort();
  }
}

/** The lowest place in the line of an election, or null: who stands there leads. */
export async function firstInLine(keys: Namespace, election: string): Promise<number | null> {
  const { kvs } = await keys.getAll().prefix(election).sort("Create", "Ascend").limit(1).exec();
  const [first] = kvs;
  return first === undefined ? null : Number(first.create_revision);
}
