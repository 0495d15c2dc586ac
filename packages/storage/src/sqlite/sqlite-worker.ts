/** The thread of one node's database: opens it, then answers in batches, with one flush to disk a batch of commits. */
import { flushCompileCache } from "node:module";
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { StorageRefusal } from "../sql/storage-refusal.ts";
import { type Outcome, SqliteConnection } from "./sqlite-connection.ts";
import {
  OPENED,
  type WorkerError,
  type WorkerReply,
  type WorkerRequest,
  type WorkerStart,
} from "./worker-protocol.ts";

/** Most commits, and about most bytes, that share a flush: bounds how long the first one waits for the others. */
const MAX_GROUP = 256;
const MAX_GROUP_BYTES = 16 * 1024 * 1024;

function serve(port: MessagePort, connection: SqliteConnection): void {
  port.on("message", (first: WorkerRequest) => {
    for (let batch = [first, ...waiting(port, size(first))]; batch.length > 0; batch = waiting(port, 0)) {
      const replies = answer(connection, batch);
      port.postMessage(replies);
      if (batch.some((request) => request.kind === "close")) {
        port.close();
        return;
      }
    }
  });
}

/** What has arrived by now, as much as fits beside `bytes`. */
function waiting(port: MessagePort, bytes: number): WorkerRequest[] {
  const requests: WorkerRequest[] = [];
  let taken = bytes;
  while (requests.length < MAX_GROUP && taken < MAX_GROUP_BYTES) {
    const next: { message: WorkerRequest } | undefined = receiveMessageOnPort(port);
    if (next === undefined) break;
    requests.push(next.message);
    taken += size(next.message);
  }
  return requests;
}

function size(request: WorkerRequest): number {
  if (request.kind !== "commit") return 0;
  return request.statements
    .flatMap((statement) => statement.parameters)
    .reduce<number>((sum, value) => sum + (value instanceof Uint8Array ? value.byteLength : 0), 0);
}

function answer(connection: SqliteConnection, batch: readonly WorkerRequest[]): readonly WorkerReply[] {
  const commits = batch.filter((request) => request.kind === "commit");
  const outcomes =
    commits.length === 0 ? [] : connection.commit(commits.map((request) => request.statements));
  const replies = outcomes.map((outcome, position) => reply(commits[position]?.id ?? OPENED, outcome));
  // After the flush, so that nobody is told of what a power cut could still undo.
  for (const request of batch) {
    if (request.kind === "query") replies.push(reply(request.id, connection.query(request.statement)));
  }
  for (const request of batch) {
    if (request.kind !== "close") continue;
    connection.close();
    replies.push({ id: request.id, ok: true, rows: [] });
  }
  return replies;
}

function reply(id: number, outcome: Outcome): WorkerReply {
  return outcome.ok ? { id, ok: true, rows: outcome.rows } : { id, ok: false, error: plain(outcome.error) };
}

function plain({ code, message, data }: StorageRefusal): WorkerError {
  return { code, message, data };
}

function start(port: MessagePort, options: WorkerStart): void {
  try {
    const connection = SqliteConnection.open(options);
    port.postMessage([{ id: OPENED, ok: true, rows: [] }] satisfies WorkerReply[]);
    // A thread keeps the compiled sources that it alone has, where the process has a folder for them.
    flushCompileCache();
    serve(port, connection);
  } catch (cause) {
    if (!(cause instanceof StorageRefusal)) throw cause;
    port.postMessage([{ id: OPENED, ok: false, error: plain(cause) }] satisfies WorkerReply[]);
  }
}

if (parentPort !== null) start(parentPort, workerData);
