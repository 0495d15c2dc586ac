import {
  CairnError,
  type ChangeCommit,
  type Clock,
  type Courier,
  decodeCanonical,
  encodeCanonical,
  intentHashSchema,
  type NodeIndex,
  type SyncAnswer,
  type SyncRecord,
  type SyncRequest,
  type SyncWanted,
  syncRequestSchema,
  type TransactionMark,
  unixMsSchema,
} from "@cairn/core";
import type { BanDesk } from "./ban-desk.ts";
import type { KeygenDesk } from "./keygen-desk.ts";
import type { ManifestBook } from "./manifest-book.ts";
import { peerMessage } from "./peer-message.ts";
import type { SpendShelf } from "./spend-shelf.ts";
import { unawaited } from "./unawaited.ts";

export interface SyncAnswersModules {
  readonly courier: Pick<Courier, "send">;
  readonly clock: Clock;
  readonly book: ManifestBook;
  readonly changes: { commits(): readonly ChangeCommit[] };
  readonly keys: Pick<KeygenDesk, "walletProofs">;
  readonly bans: Pick<BanDesk, "accusations">;
  readonly spends: SpendShelf;
  readonly report: (cause: unknown) => void;
}

/** Records of one answer end here, well below a frame; one record alone may be larger. */
const MAX_ANSWER_BYTES = 2 * 1024 * 1024;
/** Questions of one peer: so many at once, and so many a second after that. */
const BURST = 64;
const PER_SECOND = 16;
/** How far before the last change a peer goes on that has heard all: commits may become durable in another order than their times. */
const OVERLAP_MS = 5_000;

interface Allowance {
  left: number;
  at: number;
  /** Questions that are being answered or wait for that. */
  open: number;
}

/** Answers peers that ask what this node holds. It believes nothing that they say, and changes nothing. */
export class SyncAnswers {
  readonly #modules: SyncAnswersModules;
  readonly #allowances = new Map<NodeIndex, Allowance>();
  /** Answers are made one after another. */
  #last: Promise<void> = Promise.resolve();

  constructor(modules: SyncAnswersModules) {
    this.#modules = modules;
  }

  /** @throws CairnError `malformed` and the like, `wrong-cluster`, `rate-limited` */
  onRequest(from: NodeIndex, payload: Uint8Array): void {
    const request = decodeCanonical(syncRequestSchema, payload);
    if (request.cluster !== this.#modules.book.manifest.cluster)
      throw new CairnError("wrong-cluster", "the sync request is of another cluster");
    const after = request.topic === "spends" ? readCursor(request.cursor) : null;
    const allowance = this.#allow(from);
    const answered = this.#last.then(() => this.#answer(from, request, after));
    this.#last = answered
      .catch(() => {})
      .then(() => {
        allowance.open -= 1;
      });
    unawaited(answered, this.#modules.report);
  }

  async #answer(
    from: NodeIndex,
    request: SyncRequest,
    after: Pick<TransactionMark, "intent" | "updatedAt"> | null,
  ): Promise<void> {
    const { cluster, nonce, topic } = request;
    const { courier } = this.#modules;
    const answer: SyncAnswer = {
      version: 1,
      cluster,
      nonce,
      topic,
      ...(await this.#content(from, request, after)),
    };
    courier.send(from, peerMessage("sync-answer", encodeCanonical(answer)));
  }

  async #content(
    from: NodeIndex,
    request: SyncRequest,
    after: Pick<TransactionMark, "intent" | "updatedAt"> | null,
  ): Promise<Pick<SyncAnswer, "holdings" | "records" | "cursor" | "more">> {
    const { changes, keys, bans } = this.#modules;
    switch (request.topic) {
      case "changes":
        return inPages(request, changes.commits(), (commit) =>
          record("change-commit", encodeCanonical(commit)),
        );
      case "wallets":
        return inPages(request, keys.walletProofs(), (wallet) => record("wallet", wallet));
      case "evidence":
        return inPages(request, await bans.accusations(from), (accusation) => record("evidence", accusation));
      case "spends":
        return request.wanted === null
          ? this.#holdings(from, request, after)
          : this.#spends(from, request.wanted);
    }
  }

  async #holdings(
    from: NodeIndex,
    { cursor, limit }: SyncRequest,
    after: Pick<TransactionMark, "intent" | "updatedAt"> | null,
  ): Promise<Pick<SyncAnswer, "holdings" | "records" | "cursor" | "more">> {
    const { spends } = this.#modules;
    const marks = await spends.marks(after, limit);
    const holdings: SyncAnswer["holdings"] = [];
    for (const mark of marks) holdings.push(await spends.holding(mark, from));
    // A list that ended with a full page ends there: what comes late is looked for before that page's end all the same.
    const last = marks.at(-1) ?? (after?.intent === NONE ? null : after);
    const more = marks.length === limit;
    if (last === null) return { holdings, records: [], cursor, more: false };
    const place = more ? last : { updatedAt: Math.max(0, last.updatedAt - OVERLAP_MS), intent: NONE };
    return { holdings, records: [], cursor: `${place.updatedAt}/${place.intent}`, more };
  }

  async #spends(
    from: NodeIndex,
    { intents, requests }: SyncWanted,
  ): Promise<Pick<SyncAnswer, "holdings" | "records" | "cursor" | "more">> {
    const { spends } = this.#modules;
    const records: SyncRecord[] = [];
    let bytes = 0;
    const named = [...intents];
    for (const request of requests) {
      const intent = await spends.ofRequest(request);
      if (intent !== null) named.push(intent);
    }
    for (const intent of named) {
      const next = await spends.records(intent, from);
      bytes += bytesOf(next);
      if (records.length > 0 && bytes > MAX_ANSWER_BYTES) break;
      records.push(...next);
    }
    return { holdings: [], records, cursor: null, more: false };
  }

  /** @throws CairnError `rate-limited` */
  #allow(from: NodeIndex): Allowance {
    const now = this.#modules.clock.monotonic();
    const known = this.#allowances.get(from) ?? { left: BURST, at: now, open: 0 };
    known.left = Math.min(BURST, known.left + ((now - known.at) / 1_000) * PER_SECOND);
    known.at = now;
    this.#allowances.set(from, known);
    if (known.left < 1 || known.open >= BURST)
      throw new CairnError("rate-limited", "the node asks too often what this one holds", { from });
    known.left -= 1;
    known.open += 1;
    return known;
  }
}

/** A place before every spend that changed at its time. */
const NONE = "0".repeat(64);

function readCursor(cursor: string | null): Pick<TransactionMark, "intent" | "updatedAt"> | null {
  if (cursor === null) return null;
  const [, time, hash] = /^(\d{1,16})\/([0-9a-f]{64})$/.exec(cursor) ?? [];
  const updatedAt = unixMsSchema.safeParse(Number(time));
  const intent = intentHashSchema.safeParse(hash);
  if (updatedAt.success && intent.success) return { updatedAt: updatedAt.data, intent: intent.data };
  throw new CairnError("malformed", "the sync request goes on from a place that no answer named");
}

/** What of a short list one answer holds; the cursor counts those before. */
function inPages<Item>(
  { cursor, limit }: SyncRequest,
  items: readonly Item[],
  toRecord: (item: Item) => SyncRecord,
): Pick<SyncAnswer, "holdings" | "records" | "cursor" | "more"> {
  const first = cursor === null ? 0 : Number.parseInt(cursor, 10);
  const records: SyncRecord[] = [];
  let bytes = 0;
  for (const item of items.slice(first, first + limit)) {
    const next = toRecord(item);
    bytes += next.body.length;
    if (records.length > 0 && bytes > MAX_ANSWER_BYTES) break;
    records.push(next);
  }
  const next = first + records.length;
  return { holdings: [], records, cursor: String(next), more: records.length > 0 && next < items.length };
}

function bytesOf(records: readonly SyncRecord[]): number {
  return records.reduce((sum, { body }) => sum + body.length, 0);
}

function record(kind: SyncRecord["kind"], body: Uint8Array): SyncRecord {
  return { kind, body: new Uint8Array(body) };
}
