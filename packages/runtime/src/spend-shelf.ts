import {
  encodeCanonical,
  type IntentHash,
  type NodeIndex,
  type NodeStore,
  type RequestHash,
  type SyncHolding,
  type SyncRecord,
  type TransactionMark,
} from "@cairn/core";
import { finalOf } from "./final-of.ts";
import type { LiveSpends } from "./live-spends.ts";

export interface SpendShelfModules {
  readonly store: Pick<
    NodeStore,
    "transaction" | "transactionOfRequest" | "votes" | "voids" | "approvals" | "transactionMarks"
  >;
  readonly live: LiveSpends;
}

/** What this node holds of spends, for peers that ask. */
export class SpendShelf {
  readonly #modules: SpendShelfModules;

  constructor(modules: SpendShelfModules) {
    this.#modules = modules;
  }

  /** Marks of the spends that changed here after `after`, in that order. */
  marks(
    after: Pick<TransactionMark, "intent" | "updatedAt"> | null,
    limit: number,
  ): Promise<readonly TransactionMark[]> {
    return this.#modules.store.transactionMarks({ after, limit });
  }

  /** How much of a spend is here. @param asker who asks: is told which of its own words are here */
  async holding({ intent, certified, signed }: TransactionMark, asker: NodeIndex): Promise<SyncHolding> {
    const live = this.#modules.live.get(intent);
    if (live !== undefined) {
      const { votes, voids } = live.voting.tally;
      const rounds = [...votes].toSorted(([a], [b]) => a - b);
      return {
        intent,
        certified,
        signed,
        votes: rounds.reduce((sum, [, round]) => sum + round.size, 0),
        voids: voids.size,
        yours: rounds.flatMap(([round, given]) => (given.has(asker) ? [round] : [])),
        yourVoid: voids.has(asker),
      };
    }
    // What is paid needs no more words; what ended otherwise did so by its voids.
    const voids = signed ? [] : await this.#modules.store.voids(intent);
    const yourVoid = voids.some(({ node }) => node === asker);
    return { intent, certified, signed, votes: 0, voids: voids.length, yours: [], yourVoid };
  }

  /** The spend made from a request, or null. */
  async ofRequest(request: RequestHash): Promise<IntentHash | null> {
    return (await this.#modules.store.transactionOfRequest(request))?.intent ?? null;
  }

  /** All that proves how far a spend came, its intent first; empty where it is not here. */
  async records(intent: IntentHash, asker: NodeIndex): Promise<readonly SyncRecord[]> {
    const { store } = this.#modules;
    const row = await store.transaction({ intent });
    if (row === null) return [];
    const { certificate, signedTx } = row;
    const records: SyncRecord[] = [record("intent", row.intentBody)];
    if (signedTx === null && certificate === null) {
      for (const { body } of await store.approvals(row.request)) records.push(record("approval", body));
    }
    if (signedTx === null || this.#modules.live.has(intent)) {
      for (const { voter, body } of await store.votes(intent)) {
        if (certificate === null || voter === asker) records.push(record("vote", body));
      }
      for (const { body } of await store.voids(intent)) records.push(record("void", body));
    }
    if (certificate !== null) records.push(record("certificate", certificate));
    const final = finalOf(row);
    if (final !== null) records.push(record("final", encodeCanonical(final)));
    return records;
  }
}

function record(kind: SyncRecord["kind"], body: Uint8Array): SyncRecord {
  return { kind, body: new Uint8Array(body) };
}
