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
  type SyncRecord,
  type SyncRequest,
  type SyncTopic,
  syncAnswerSchema,
  toHex,
  verifySyncAnswer,
} from "@cairn/core";
import type { InForce } from "./manifest-book.ts";
import { peerMessage } from "./peer-message.ts";

export interface SyncQuestionsModules {
  readonly courier: Pick<Courier, "send">;
  readonly clock: Clock;
  readonly random: Random;
  readonly book: Pick<InForce, "manifest">;
}

interface Question {
  readonly node: NodeIndex;
  readonly request: SyncRequest;
  readonly answered: (answer: SyncAnswer | null) => void;
  readonly failed: (cause: CairnError) => void;
}

/** How long an answer may take, and how often it is asked for. */
const ANSWER_MS = 10_000;
const TRIES = 3;

/** Questions to peers that are up, and the answers to them. */
export class SyncQuestions {
  readonly #modules: SyncQuestionsModules;
  readonly #up = new Set<NodeIndex>();
  readonly #open = new Map<Nonce, Question>();
  #closed = false;

  constructor(modules: SyncQuestionsModules) {
    this.#modules = modules;
  }

  /** The transport says that a peer came up or went down: then nothing more is waited for. */
  peer(node: NodeIndex, up: boolean): void {
    if (up) this.#up.add(node);
    else {
      this.#up.delete(node);
      this.#drop(node);
    }
  }

  isUp(node: NodeIndex): boolean {
    return this.#up.has(node);
  }

  /** @throws CairnError `timeout` where no answer comes, `closed`, and what is wrong with the answer that does come */
  async ask(
    node: NodeIndex,
    topic: SyncTopic,
    about: Pick<SyncRequest, "cursor" | "wanted">,
  ): Promise<SyncAnswer> {
    for (let attempt = 0; attempt < TRIES && this.#up.has(node); attempt += 1) {
      if (this.#closed) throw new CairnError("closed", "the node is stopping");
      const answer = await this.#askOnce(node, topic, about);
      if (answer !== null) return answer;
    }
    throw new CairnError("timeout", `node ${node} does not say what it holds`, { node, topic });
  }

  /** Asks for all records of a topic, page by page. @throws CairnError those of {@link ask} and of `take` */
  async each(
    node: NodeIndex,
    topic: Exclude<SyncTopic, "spends">,
    take: (record: SyncRecord) => Promise<void>,
  ): Promise<void> {
    for (let cursor: string | null = null, more = true; more; ) {
      const answer: SyncAnswer = await this.ask(node, topic, { cursor, wanted: null });
      for (const record of answer.records) await take(record);
      cursor = answer.cursor;
      more = answer.more;
    }
  }

  /** @throws CairnError `malformed` and the like, `replayed`, `wrong-cluster` */
  onAnswer(from: NodeIndex, payload: Uint8Array): void {
    const answer = decodeCanonical(syncAnswerSchema, payload);
    const question = this.#open.get(answer.nonce);
    if (question?.node !== from)
      throw new CairnError("replayed", "this node did not ask for that sync answer, or no longer waits");
    try {
      verifySyncAnswer(answer, question.request);
    } catch (cause) {
      if (isCairnError(cause)) question.failed(cause);
      throw cause;
    }
    question.answered(answer);
  }

  close(): void {
    this.#closed = true;
    for (const node of [...this.#up]) this.#drop(node);
  }

  #askOnce(
    node: NodeIndex,
    topic: SyncTopic,
    about: Pick<SyncRequest, "cursor" | "wanted">,
  ): Promise<SyncAnswer | null> {
    const { book, clock, courier, random } = this.#modules;
    const { cluster } = book.manifest;
    const nonce = toHex(random.bytes(32)) as Nonce;
    const request: SyncRequest = { version: 1, cluster, nonce, topic, limit: MAX_SYNC_RECORDS, ...about };
    return new Promise((resolve, reject) => {
      const timer = clock.after(ANSWER_MS, () => {
        this.#open.delete(nonce);
        resolve(null);
      });
      const done = () => {
        timer.cancel();
        this.#open.delete(nonce);
      };
      this.#open.set(nonce, {
        node,
        request,
        answered: (answer) => {
          done();
          resolve(answer);
        },
        failed: (cause) => {
          done();
          reject(cause);
        },
      });
      courier.send(node, peerMessage("sync-request", encodeCanonical(request)));
    });
  }

  #drop(node: NodeIndex): void {
    for (const question of [...this.#open.values()]) if (question.node === node) question.answered(null);
  }
}
