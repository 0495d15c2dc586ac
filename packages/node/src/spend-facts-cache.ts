import { parsePsbt, parseTransaction, psbtInputType, psbtValue } from "@cairn/bitcoin";
import { intentSchema } from "@cairn/consensus";
import {
  CairnError,
  decodeCanonical,
  type IntentHash,
  type SpendOutput,
  type TransactionRow,
  toHex,
} from "@cairn/core";

/** What an intent says of a spend: it never changes. */
export interface SpendFacts {
  readonly outputs: readonly SpendOutput[];
  readonly maxFeeSats: bigint;
  readonly inputs: readonly {
    readonly txid: string;
    readonly vout: number;
    readonly amountSats: bigint;
    readonly scriptPubKey: string;
  }[];
}

const LIMIT = 2048;
/** Intents decoded before the event loop gets a turn: some carry many previous transactions. */
const TURN = 8;

/** Facts of intents, decoded once and a few at a time. */
export class SpendFactsCache {
  readonly #known = new Map<IntentHash, SpendFacts>();

  async of(rows: readonly TransactionRow[]): Promise<readonly SpendFacts[]> {
    const facts: SpendFacts[] = [];
    let decoded = 0;
    for (const row of rows) {
      const known = this.#known.get(row.intent);
      if (known === undefined && decoded++ % TURN === TURN - 1) await new Promise(setImmediate);
      facts.push(known ?? this.#decode(row));
    }
    return facts;
  }

  #decode(row: TransactionRow): SpendFacts {
    const { request, psbt } = decodeCanonical(intentSchema, row.intentBody);
    const { transaction, inputs } = parsePsbt(psbt);
    const facts: SpendFacts = {
      outputs: request.body.outputs,
      maxFeeSats: request.body.maxFeeSats,
      inputs: transaction.inputs.map(({ txid, vout }, position) => {
        const previous = psbtValue(inputs[position] ?? [], psbtInputType.nonWitnessUtxo);
        const output = previous === undefined ? undefined : parseTransaction(previous).outputs[vout];
        if (output === undefined) {
          throw new CairnError(
            "storage-corrupt",
            "a stored spend lacks the transaction that an input comes from; restore the database from a backup",
            { intent: row.intent, input: position },
          );
        }
        return { txid, vout, amountSats: output.amountSats, scriptPubKey: toHex(output.script) };
      }),
    };
    if (this.#known.size >= LIMIT) this.#known.delete(this.#known.keys().next().value ?? row.intent);
    this.#known.set(row.intent, facts);
    return facts;
  }
}
