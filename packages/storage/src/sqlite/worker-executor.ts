import { Worker } from "node:worker_threads";
import { CairnError } from "@cairn/core";
import type { SqlExecutor, SqlRow, SqlStatement, SqlValue } from "../sql/sql-executor.ts";
import { OPENED, type WorkerReply, type WorkerRequest, type WorkerStart } from "./worker-protocol.ts";

interface Waiting {
  readonly resolve: (rows: readonly SqlRow[]) => void;
  readonly reject: (error: CairnError) => void;
}

/**
 * Runs statements in a thread of their own, so that waiting for the disk never holds up the event loop. Commits that are
 * asked for while an earlier one is being flushed share the next flush.
 */
export class WorkerExecutor implements SqlExecutor {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = OPENED;
  #ended: CairnError | null = null;
  #closing: Promise<void> | null = null;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.on("message", (replies: readonly WorkerReply[]) => {
      for (const reply of replies) this.#settle(reply);
      this.#holdProcess();
    });
    worker.on("error", (cause) => this.#end(stopped(cause)));
    worker.on("exit", () => this.#end(stopped(null)));
  }

  /** Starts the thread and opens the database in it; rejects with the errors of `SqliteConnection.open`. */
  static async open(options: WorkerStart): Promise<WorkerExecutor> {
    const worker = new Worker(new URL("./sqlite-worker.ts", import.meta.url), { workerData: options });
    const executor = new WorkerExecutor(worker);
    try {
      await executor.#wait(OPENED);
    } catch (cause) {
      await worker.terminate();
      throw cause;
    }
    return executor;
  }

  async commit(statements: readonly SqlStatement[]): Promise<readonly SqlRow[]> {
    if (statements.length === 0 && this.#ended === null) return [];
    return this.#ask((id) => ({ kind: "commit", id, statements: statements.map(detached) }));
  }

  query(statement: SqlStatement): Promise<readonly SqlRow[]> {
    return this.#ask((id) => ({ kind: "query", id, statement: detached(statement) }));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#ended === null) {
      const exit = new Promise((resolve) => this.#worker.once("exit", resolve));
      const closed = this.#ask((id) => ({ kind: "close", id }));
      this.#ended = new CairnError("closed", "the store is closed", {});
      await closed;
      this.#worker.ref();
      await exit;
    } else {
      await this.#worker.terminate();
    }
  }

  #ask(request: (id: number) => WorkerRequest): Promise<readonly SqlRow[]> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    this.#lastId += 1;
    const id = this.#lastId;
    const reply = this.#wait(id);
    this.#worker.postMessage(request(id));
    return reply;
  }

  #wait(id: number): Promise<readonly SqlRow[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#holdProcess();
    });
  }

  #settle(reply: WorkerReply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (reply.ok) waiting?.resolve(reply.rows);
    else waiting?.reject(new CairnError(reply.error.code, reply.error.message, reply.error.data));
  }

  #end(error: CairnError): void {
    this.#ended ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
  }

  /** An idle store does not keep the process alive; an unanswered request does. */
  #holdProcess(): void {
    if (this.#waiting.size > 0) this.#worker.ref();
    else this.#worker.unref();
  }
}

function stopped(cause: unknown): CairnError {
  return new CairnError(
    "storage-failed",
    "the thread of the node's database stopped: start the node again",
    {},
    { cause },
  );
}

/** A view of a larger buffer would travel with all of that buffer, and with what else lies in it. */
function detached(statement: SqlStatement): SqlStatement {
  return { ...statement, parameters: statement.parameters.map(detachedValue) };
}

function detachedValue(value: SqlValue): SqlValue {
  if (!(value instanceof Uint8Array) || value.byteLength === value.buffer.byteLength) return value;
  return Uint8Array.from(value);
}
