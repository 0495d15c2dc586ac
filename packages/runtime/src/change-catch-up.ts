import {
  CairnError,
  type Clock,
  type Courier,
  decodeCanonical,
  encodeCanonical,
  isCairnError,
  MAX_SYNC_RECORDS,
  type NodeIndex,
  type Nonce,
  type Random,
  type SyncAnswer,
  type SyncRequest,
  syncAnswerSchema,
  syncRequestSchema,
  toHex,
  type UnixMs,
  verifySyncAnswer,
} from "@cairn/core";
import type { ChangeDesk } from "./change-desk.ts";
import type { ManifestBook } from "./manifest-book.ts";
import { peerMessage } from "./peer-message.ts";

export interface ChangeCatchUpModules {
  readonly courier: Courier;
  readonly clock: Clock;
  readonly random: Random;
  readonly book: ManifestBook;
  readonly changes: ChangeDesk;
}

/** Least time between two questions to one peer. */
const ASK_MS = 5_000;
/** Records of one answer end here, well below a frame. */
const MAX_ANSWER_BYTES = 2 * 1024 * 1024;

/** Asks peers for the changes that are in force with them, and answers such questions. */
export class ChangeCatchUp {
  readonly #modules: ChangeCatchUpModules;
  readonly #asked = new Map<NodeIndex, { readonly request: SyncRequest; readonly at: number }>();

  constructor(modules: ChangeCatchUpModules) {
    this.#modules = modules;
  }

  /** Asks a peer for all of them, unless it was asked just now. */
  ask(node: NodeIndex): void {
    const last = this.#asked.get(node);
    if (last !== undefined && this.#modules.clock.monotonic() - last.at < ASK_MS) return;
    this.#ask(node, null);
  }

  /** Whether `error` says that a peer goes by a manifest that this node does not know. Then the peer is asked for it. */
  asksFor(error: CairnError, from: NodeIndex): boolean {
    const { named } = error.data;
    const unknown =
      error.code === "wrong-manifest" && typeof named === "string" && !this.#modules.book.knows(named);
    if (unknown) this.ask(from);
    return unknown;
  }

  async onRequest(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const request = decodeCanonical(syncRequestSchema, payload);
    const { book, changes, courier } = this.#modules;
    if (request.cluster !== book.manifest.cluster)
      throw new CairnError("wrong-cluster", "the sync request is of another cluster");
    if (request.topic !== "changes") {
      throw new CairnError("unsupported-version", "this version hands on changes alone", {
        topic: request.topic,
      });
    }
    const commits = changes.commits();
    const first = request.cursor === null ? 0 : Number.parseInt(request.cursor, 10);
    const records: SyncAnswer["records"] = [];
    let bytes = 0;
    for (const commit of commits.slice(first, first + request.limit)) {
      const body = encodeCanonical(commit);
      bytes += body.length;
      if (records.length > 0 && bytes > MAX_ANSWER_BYTES) break;
      records.push({ kind: "change-commit", body: new Uint8Array(body) });
    }
    const next = first + records.length;
    const { cluster, nonce, topic } = request;
    const answer: SyncAnswer = {
      version: 1,
      cluster,
      nonce,
      topic,
      records,
      cursor: records.length > 0 && next < commits.length ? String(next) : null,
      remembered: null,
    };
    courier.send(from, peerMessage("sync-answer", encodeCanonical(answer)));
  }

  async onAnswer(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const answer = decodeCanonical(syncAnswerSchema, payload);
    const asked = this.#asked.get(from);
    if (asked === undefined) throw new CairnError("replayed", "this node did not ask for that sync answer");
    verifySyncAnswer(answer, asked.request);
    for (const { kind, body } of answer.records) {
      if (kind !== "change-commit") continue;
      await this.#modules.changes.onCommit(from, body).catch((error: unknown) => {
        // Another peer's answer will complete what this one's does not.
        if (!isCairnError(error, "busy") && !isCairnError(error, "wrong-manifest")) throw error;
      });
    }
    if (answer.cursor !== null) this.#ask(from, answer.cursor);
  }

  #ask(node: NodeIndex, cursor: string | null): void {
    const { book, clock, courier, random } = this.#modules;
    const request: SyncRequest = {
      version: 1,
      cluster: book.manifest.cluster,
      nonce: toHex(random.bytes(32)) as Nonce,
      topic: "changes",
      since: 0 as UnixMs,
      cursor,
      limit: MAX_SYNC_RECORDS,
    };
    this.#asked.set(node, { request, at: clock.monotonic() });
    courier.send(node, peerMessage("sync-request", encodeCanonical(request)));
  }
}
