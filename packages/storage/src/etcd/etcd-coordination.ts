import { CairnError, type Clock, type Random, toHex } from "@cairn/core";
import { Etcd3, type Namespace } from "etcd3";
import type { Coordination, CoordinationChange, CoordinationEntry, Leadership } from "../coordination.ts";
import { listEntries, toEntry } from "./etcd-entries.ts";
import { etcdFailure } from "./etcd-failure.ts";
import { EtcdTerm, firstInLine } from "./etcd-term.ts";
import { EtcdWatch } from "./etcd-watch.ts";

export interface EtcdOptions {
  /** `http://` or `https://` URLs of the members. */
  readonly endpoints: readonly string[];
  /** Under which all keys lie, such as `/cairn/<cluster>`: clusters and other programs may share one etcd. */
  readonly prefix: string;
  /** Longest wait for one answer, in ms. */
  readonly timeoutMs: number;
  /** For how long a leader that fell silent keeps its office, in ms; whole seconds, at least 2. */
  readonly termMs: number;
  /** PEM files' contents; absent for `http`. */
  readonly tls: {
    readonly authority: Uint8Array;
    readonly client: { readonly certificate: Uint8Array; readonly key: Uint8Array } | null;
  } | null;
  readonly user: { readonly name: string; readonly password: string } | null;
}

export interface EtcdModules {
  readonly clock: Clock;
  readonly random: Random;
  /** Told of what went wrong behind the caller's back, such as a watch that had to be made anew. */
  readonly report: (cause: unknown) => void;
}

/** Coordination through a cluster of etcd 3.4 or later. Connects when first asked. */
export function openEtcdCoordination(options: EtcdOptions, modules: EtcdModules): Coordination {
  return new EtcdCoordination(options, modules);
}

class EtcdCoordination implements Coordination {
  readonly shared = true;
  readonly #options: EtcdOptions;
  readonly #modules: EtcdModules;
  readonly #client: Etcd3;
  readonly #keys: Namespace;
  /** Nonces of swaps, apart from what is shown. */
  readonly #swaps: Namespace;
  readonly #watches = new Set<EtcdWatch>();
  readonly #terms = new Set<EtcdTerm>();
  readonly #closing = new AbortController();

  constructor(options: EtcdOptions, modules: EtcdModules) {
    this.#options = options;
    this.#modules = modules;
    const { tls, user, timeoutMs } = options;
    this.#client = new Etcd3({
      hosts: [...options.endpoints],
      // Streams live on: a time limit would end watches and leases that are well.
      defaultCallOptions: ({ isStream }) => (isStream ? {} : { deadline: Date.now() + timeoutMs }),
      ...(user === null ? {} : { auth: { username: user.name, password: user.password } }),
      ...(tls === null
        ? {}
        : {
            credentials: {
              rootCertificate: Buffer.from(tls.authority),
              ...(tls.client === null
                ? {}
                : {
                    certChain: Buffer.from(tls.client.certificate),
                    privateKey: Buffer.from(tls.client.key),
                  }),
            },
          }),
    });
    this.#keys = this.#client.namespace(`${options.prefix}/shared`);
    this.#swaps = this.#client.namespace(`${options.prefix}/swaps`);
  }

  get(key: string): Promise<CoordinationEntry | null> {
    return this.#ask(async () => {
      const { kvs } = await this.#keys.get(key).exec();
      const [kv] = kvs;
      return kv === undefined ? null : { ...toEntry(kv), key };
    });
  }

  list(prefix: string): Promise<readonly CoordinationEntry[]> {
    return this.#ask(async () => (await listEntries(this.#keys, prefix)).entries);
  }

  put(key: string, value: string, options: { readonly ttlMs?: number } = {}): Promise<void> {
    return this.#ask(async () => {
      const put = this.#keys.put(key).value(value);
      await (options.ttlMs === undefined ? put : put.lease(await this.#lease(options.ttlMs))).exec();
    });
  }

  /** A swap whose answer was lost is tried again by the library and then fails; the nonce beside the entry tells whose swap took place. */
  compareAndSwap(
    key: string,
    revision: number,
    value: string,
    options: { readonly ttlMs?: number } = {},
  ): Promise<boolean> {
    return this.#ask(async () => {
      const nonce = toHex(this.#modules.random.bytes(16));
      const lease = options.ttlMs === undefined ? null : await this.#lease(options.ttlMs);
      const put = (keys: Namespace, text: string) => {
        const builder = this.#client.put(Buffer.concat([keys.prefix, Buffer.from(key)])).value(text);
        return lease === null ? builder : builder.lease(lease);
      };
      const { succeeded } = await this.#client
        .if(Buffer.concat([this.#keys.prefix, Buffer.from(key)]), "Mod", "==", revision)
        .then(put(this.#keys, value), put(this.#swaps, nonce))
        .commit();
      return succeeded || (await this.#swaps.get(key).string()) === nonce;
    });
  }

  remove(key: string): Promise<void> {
    return this.#ask(async () => {
      await this.#keys.delete().key(key).exec();
    });
  }

  watch(prefix: string, listener: (change: CoordinationChange) => void): Promise<{ stop(): void }> {
    return this.#ask(async () => {
      const { clock, report } = this.#modules;
      const watch = await EtcdWatch.open(this.#keys, prefix, { clock, report, tell: listener });
      this.#watches.add(watch);
      const stop = (): void => {
        this.#watches.delete(watch);
        watch.stop().catch(report);
      };
      if (this.#closing.signal.aborted) stop();
      return { stop };
    });
  }

  campaign(election: string, options: { readonly signal?: AbortSignal } = {}): Promise<Leadership> {
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    return this.#ask(async () => {
      for (;;) {
        const leadership = await this.#standInLine(`/elections/${election}/`, signal);
        if (leadership !== null) return leadership;
      }
    });
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    await Promise.allSettled([
      ...[...this.#watches].map((watch) => watch.stop()),
      ...[...this.#terms].map((term) => term.resign()),
    ]);
    this.#client.close();
  }

  /** Stands in line until it leads, or until etcd lost sight of this candidate: null. */
  async #standInLine(line: string, signal: AbortSignal | undefined): Promise<Leadership | null> {
    const { clock, report } = this.#modules;
    const seconds = Math.max(2, Math.ceil(this.#options.termMs / 1_000));
    const term = new EtcdTerm(this.#keys, seconds, clock);
    this.#terms.add(term);
    term.lost.addEventListener("abort", () => this.#terms.delete(term));
    let place: number | null = null;
    try {
      place = await term.enter(this.#keys, line);
      await this.#untilFirst(line, place, AbortSignal.any([term.lost, ...(signal ? [signal] : [])]));
      return term.leadership(place);
    } catch (cause) {
      const lost = place !== null && term.lost.aborted;
      term.resign().catch(report);
      if (signal?.aborted) throw new Left(signal.reason);
      if (lost && !this.#closing.signal.aborted) return null;
      throw cause;
    }
  }

  /** Waits until nobody stands in line before `place`. */
  async #untilFirst(line: string, place: number, gone: AbortSignal): Promise<void> {
    const { clock, report } = this.#modules;
    let look: () => void = () => {};
    let changed = false;
    const onChange = (): void => {
      changed = true;
      look();
    };
    const watch = await EtcdWatch.open(this.#keys, line, { clock, report, tell: onChange });
    gone.addEventListener("abort", onChange);
    try {
      for (;;) {
        gone.throwIfAborted();
        changed = false;
        if ((await firstInLine(this.#keys, line)) === place) return;
        await new Promise<void>((resolve) => {
          look = resolve;
          if (changed || gone.aborted) resolve();
        });
      }
    } finally {
      gone.removeEventListener("abort", onChange);
      watch.stop().catch(report);
    }
  }

  /** The id of a lease that nobody prolongs. */
  #lease(ttlMs: number): Promise<string> {
    return this.#client.lease(Math.ceil(ttlMs / 1_000), { autoKeepAlive: false }).grant();
  }

  async #ask<Answer>(question: () => Promise<Answer>): Promise<Answer> {
    const refuse = () => new CairnError("closed", "the coordination store is closed", {});
    if (this.#closing.signal.aborted) throw refuse();
    try {
      return await question();
    } catch (cause) {
      if (this.#closing.signal.aborted) throw refuse();
      if (cause instanceof Left) throw cause.reason;
      throw etcdFailure(cause);
    }
  }
}

/** A candidate's own wish to leave the line, with the reason that it gave. */
class Left {
  readonly reason: unknown;
  constructor(reason: unknown) {
    this.reason = reason;
  }
}
