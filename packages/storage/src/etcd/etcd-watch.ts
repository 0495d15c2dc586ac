import type { Clock } from "@cairn/core";
import type { IKeyValue, Namespace, Watcher } from "etcd3";
import type { CoordinationChange } from "../coordination.ts";
import { listEntries, toEntry } from "./etcd-entries.ts";

/** Between two tries to read a prefix whose changes may have been missed. */
const RETRY_MS = 500;

export interface EtcdWatchModules {
  readonly clock: Clock;
  readonly tell: (change: CoordinationChange) => void;
  readonly report: (cause: unknown) => void;
}

/**
 * One watched prefix that loses no change and repeats none: after every interruption (a member lost, a compaction) it reads the
 * prefix anew and tells what differs from what it last told.
 */
export class EtcdWatch {
  readonly #keys: Namespace;
  readonly #prefix: string;
  readonly #modules: EtcdWatchModules;
  /** Revision of each entry as told last. */
  readonly #told = new Map<string, number>();
  /** Changes up to this revision are told. */
  #floor = 0;
  #watcher: Watcher | null = null;
  /** What came while the prefix is read anew; null when changes are told as they come. */
  #held: CoordinationChange[] | null = null;
  /** The stream ended for good, so that a new one must be made. */
  #ended = false;
  #stopped = false;

  private constructor(keys: Namespace, prefix: string, modules: EtcdWatchModules) {
    this.#keys = keys;
    this.#prefix = prefix;
    this.#modules = modules;
  }

  /** Resolves once every later change will be told. */
  static async open(keys: Namespace, prefix: string, modules: EtcdWatchModules): Promise<EtcdWatch> {
    const watch = new EtcdWatch(keys, prefix, modules);
    const { revision, entries } = await listEntries(keys, prefix);
    watch.#floor = revision;
    for (const entry of entries) watch.#told.set(entry.key, entry.revision);
    watch.#attach();
    return watch;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const watcher = this.#watcher;
    this.#watcher = null;
    await watcher?.cancel();
  }

  #attach(): void {
    this.#ended = false;
    // Not `create()`, which waits for the stream: changes since `#floor` come whenever it stands.
    const watcher = this.#keys
      .watch()
      .prefix(this.#prefix)
      .startRevision(String(this.#floor + 1))
      .watcher();
    this.#watcher = watcher;
    let broken = false;
    watcher
      .on("put", (kv) => this.#onChange({ change: "put", entry: toEntry(kv) }))
      .on("delete", (kv) => this.#onChange(removalOf(kv)))
      .on("disconnected", () => {
        broken = true;
      })
      .on("connected", () => {
        if (broken) this.#readAnew();
        broken = false;
      })
      .on("error", (cause) => {
        this.#modules.report(cause);
        this.#ended = true;
        this.#watcher = null;
        this.#readAnew();
      });
  }

  #onChange(change: CoordinationChange): void {
    if (this.#stopped) return;
    if (this.#held !== null) {
      this.#held.push(change);
      return;
    }
    const { key, revision } = change.change === "put" ? change.entry : change;
    if (revision <= this.#floor) return;
    if (change.change === "put") this.#told.set(key, revision);
    else this.#told.delete(key);
    this.#modules.tell(change);
  }

  #readAnew(): void {
    if (this.#held !== null) return;
    this.#held = [];
    this.#readUntilAnswered();
  }

  #readUntilAnswered(): void {
    if (this.#stopped) return;
    listEntries(this.#keys, this.#prefix).then(
      (now) => this.#catchUp(now),
      (cause) => {
        this.#modules.report(cause);
        this.#modules.clock.after(RETRY_MS, () => this.#readUntilAnswered());
      },
    );
  }

  #catchUp({ revision, entries }: Awaited<ReturnType<typeof listEntries>>): void {
    const held = this.#held ?? [];
    this.#held = null;
    const there = new Set(entries.map(({ key }) => key));
    const gone = [...this.#told.keys()].filter((key) => !there.has(key));
    const newer = entries.filter(
      (entry) => entry.revision > Math.max(this.#floor, this.#told.get(entry.key) ?? 0),
    );
    for (const key of gone) this.#onChange({ change: "removed", key, revision });
    for (const entry of newer.toSorted((a, b) => a.revision - b.revision)) {
      this.#onChange({ change: "put", entry });
    }
    this.#floor = revision;
    for (const change of held) this.#onChange(change);
    if (this.#ended && !this.#stopped) this.#attach();
  }
}

function removalOf(kv: IKeyValue): CoordinationChange {
  return { change: "removed", key: kv.key.toString(), revision: Number(kv.mod_revision) };
}
