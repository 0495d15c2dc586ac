import type { Courier, ErrorData, IntentHash, NodeIndex, PeerMessage, StoreWrite } from "@cairn/core";

/** One thing worth an entry in the audit log. */
export interface AuditFact {
  readonly kind: string;
  readonly subject: string;
  readonly data: ErrorData;
}

/** What the loop needs of the store: one atomic commit. */
export interface LoopStore {
  commit(writes: readonly StoreWrite[]): Promise<void>;
}

/** Turns facts into the next entries of the log, in the order in which they will be committed. */
export interface AuditSink {
  /** Writes that continue the log after the last committed entry. */
  entries(facts: readonly AuditFact[]): readonly StoreWrite[];
  /** The entries of the last call are durable. */
  committed(): void;
  /** The entries of the last call are not; the next call begins where it did. */
  discarded(): void;
}

/** Says what one task wants done; the loop does it in the order persist → send → apply. */
export interface Batch {
  /** Persists, atomically with all else of the task. */
  write(write: StoreWrite): void;
  audit(kind: string, subject: string, data?: ErrorData): void;
  /** Delivers until acknowledged, from the moment of the commit. */
  post(to: readonly NodeIndex[], id: string, message: PeerMessage): void;
  /** Sends at most once, after the commit. */
  send(to: readonly NodeIndex[], message: PeerMessage): void;
  /** Changes memory: at once for the tasks that follow, undone should the commit fail. */
  put<K, V>(map: Map<K, V>, key: K, value: V): void;
  remove<K, V>(map: Map<K, V>, key: K): void;
  assign<T>(cell: Cell<T>, value: T): void;
  /** Puts back what the task changed in memory by itself, should the commit fail; the latest change first. */
  undo(change: () => void): void;
  /** Runs after commit and sends. What it throws is reported and undoes nothing. */
  afterwards(run: () => void): void;
}

/** One value of the node's memory. */
export interface Cell<T> {
  value: T;
}

export interface LoopModules {
  readonly store: LoopStore;
  readonly courier: Courier;
  readonly audit: AuditSink;
  /** What of a task's facts goes into the log; everything where it is left out. */
  readonly quota?: { admit(fact: AuditFact): AuditFact | null };
  /** Told what goes wrong once a task's writes are durable: too late to refuse the task. */
  readonly report: (cause: unknown) => void;
}

interface Entry {
  readonly task: (batch: Batch) => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (cause: unknown) => void;
}

class TaskBatch implements Batch {
  readonly writes: StoreWrite[] = [];
  readonly facts: AuditFact[] = [];
  readonly sends: { readonly to: NodeIndex; readonly message: PeerMessage }[] = [];
  readonly posted: StoreWrite[] = [];
  readonly after: (() => void)[] = [];
  readonly #undo: (() => void)[] = [];
  readonly #courier: Courier;

  constructor(courier: Courier) {
    this.#courier = courier;
  }

  write(write: StoreWrite): void {
    this.writes.push(write);
  }

  audit(kind: string, subject: string, data: ErrorData = {}): void {
    this.facts.push({ kind, subject, data });
  }

  post(to: readonly NodeIndex[], id: string, message: PeerMessage): void {
    const postings = to.map((node) => this.#courier.posting(node, id, message));
    this.writes.push(...postings);
    this.posted.push(...postings);
  }

  send(to: readonly NodeIndex[], message: PeerMessage): void {
    for (const node of to) this.sends.push({ to: node, message });
  }

  put<K, V>(map: Map<K, V>, key: K, value: V): void {
    this.#remember(map, key);
    map.set(key, value);
  }

  remove<K, V>(map: Map<K, V>, key: K): void {
    this.#remember(map, key);
    map.delete(key);
  }

  assign<T>(cell: Cell<T>, value: T): void {
    const before = cell.value;
    this.#undo.push(() => {
      cell.value = before;
    });
    cell.value = value;
  }

  afterwards(run: () => void): void {
    this.after.push(run);
  }

  undo(change: () => void): void {
    this.#undo.push(change);
  }

  undoAll(): void {
    for (const undo of this.#undo.reverse()) undo();
  }

  #remember<K, V>(map: Map<K, V>, key: K): void {
    const before = map.get(key);
    const had = map.has(key);
    this.#undo.push(() => {
      if (had) map.set(key, before as V);
      else map.delete(key);
    });
  }
}

/**
 * Runs tasks one after another over the node's memory and carries out what they ask for: **persist, then send, then apply**.
 * Nothing leaves the node before what it implies is durable. Tasks that queue up while a commit is under way share the next
 * one. A task is synchronous: whatever must be waited for (chain, engine, disk reads) happens outside and comes back as
 * another task.
 */
export class Loop {
  readonly #store: LoopStore;
  readonly #courier: Courier;
  readonly #audit: AuditSink;
  readonly #quota: LoopModules["quota"];
  readonly #report: (cause: unknown) => void;
  #queue: Entry[] = [];
  #running: Promise<void> | null = null;
  #closed: Error | null = null;

  constructor(modules: LoopModules) {
    this.#store = modules.store;
    this.#courier = modules.courier;
    this.#audit = modules.audit;
    this.#quota = modules.quota;
    this.#report = modules.report;
  }

  /**
   * Runs `task`; resolves with its value once everything it wrote is durable and sent.
   * Rejects with what it threw, or with the error of the commit; then nothing of it happened.
   */
  run<T>(task: (batch: Batch) => T): Promise<T> {
    if (this.#closed !== null) return Promise.reject(this.#closed);
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ task, resolve: resolve as (value: unknown) => void, reject });
      this.#running ??= this.#drain();
    });
  }

  /** Refuses further tasks with `reason` and resolves when those under way are done. */
  async close(reason: Error): Promise<void> {
    this.#closed ??= reason;
    await this.#running;
  }

  async #drain(): Promise<void> {
    // The first turn is given to whoever queued, so that its siblings of the same turn share the commit.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const entries = this.#queue;
      this.#queue = [];
      await this.#runTogether(entries);
    }
    this.#running = null;
  }

  async #runTogether(entries: readonly Entry[]): Promise<void> {
    const done: { readonly entry: Entry; readonly batch: TaskBatch; readonly value: unknown }[] = [];
    for (const entry of entries) {
      const batch = new TaskBatch(this.#courier);
      try {
        done.push({ entry, batch, value: entry.task(batch) });
      } catch (cause) {
        batch.undoAll();
        entry.reject(cause);
      }
    }
    const facts = done
      .flatMap(({ batch }) => batch.facts)
      .flatMap((fact) => (this.#quota === undefined ? fact : (this.#quota.admit(fact) ?? [])));
    try {
      const writes = [...lasting(done.flatMap(({ batch }) => batch.writes)), ...this.#audit.entries(facts)];
      if (writes.length > 0) await this.#store.commit(writes);
      this.#audit.committed();
    } catch (cause) {
      this.#audit.discarded();
      for (const { batch } of done.toReversed()) batch.undoAll();
      await this.#recover(done, cause);
      return;
    }
    for (const { batch } of done) {
      for (const { to, message } of batch.sends) this.#guarded(() => this.#courier.send(to, message));
    }
    const posted = done.flatMap(({ batch }) => batch.posted);
    if (posted.length > 0) this.#guarded(() => this.#courier.kick(posted));
    for (const { entry, batch, value } of done) {
      for (const run of batch.after) this.#guarded(run);
      entry.resolve(value);
    }
  }

  /** One fault after the commit must not keep what else follows from it from happening. */
  #guarded(run: () => void): void {
    try {
      run();
    } catch (cause) {
      this.#report(cause);
    }
  }

  /** One task's refused write must not take its neighbours down: when several shared a failed commit, each is run again alone. */
  async #recover(done: readonly { readonly entry: Entry }[], cause: unknown): Promise<void> {
    if (done.length === 1) done[0]?.entry.reject(cause);
    else for (const { entry } of done) await this.#runTogether([entry]);
  }
}

/** The writes without rows of spends that a later write of the same commit replaces. */
function lasting(writes: readonly StoreWrite[]): readonly StoreWrite[] {
  const last = new Map<IntentHash, StoreWrite>();
  for (const write of writes) if (write.write === "transaction") last.set(write.row.intent, write);
  return writes.filter((write) => write.write !== "transaction" || last.get(write.row.intent) === write);
}
