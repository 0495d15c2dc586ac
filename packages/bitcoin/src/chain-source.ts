import type { Outpoint, Txid } from "@cairn/core";
import type { FeeRate } from "./fee-rate.ts";
import type { Inclusion } from "./inclusion.ts";

/** The best block that a source knows. */
export interface ChainTip {
  readonly height: number;
  /** Block hash in the byte order in which people read it, 64 hexadecimal digits. */
  readonly hash: string;
}

/** Where a transaction is. `unknown`: neither in the best chain nor waiting. */
export type TransactionStatus =
  | { readonly state: "unknown" }
  | { readonly state: "mempool" }
  | { readonly state: "confirmed"; readonly blockHeight: number; readonly blockHash: string };

/** An unspent output of a script, as sources tell it. */
export interface ChainUtxo {
  readonly outpoint: Outpoint;
  /** For display and first choices only. What is signed takes amounts from the previous transaction itself. */
  readonly amountSats: bigint;
  readonly status: Exclude<TransactionStatus, { state: "unknown" }>;
}

/** Who spends an output. */
export type OutspendStatus =
  | { readonly spent: false }
  | {
      readonly spent: true;
      /** Absent where the source knows only that it is spent. */
      readonly by?: Txid;
      readonly status: Exclude<TransactionStatus, { state: "unknown" }>;
    };

/** What a script has seen. */
export interface ScriptActivity {
  /** Whether any transaction, confirmed or waiting, ever paid to it. */
  readonly used: boolean;
  readonly utxos: readonly ChainUtxo[];
  /**
   * Confirmed transactions that pay to it or spend from it, where none of either waits in the mempool. Absent where one
   * waits, or where that is not known.
   */
  readonly settled?: number;
}

/** A rate at which a transaction should confirm within so many blocks. */
export interface FeeEstimate {
  readonly targetBlocks: number;
  readonly rate: FeeRate;
}

/**
 * A view of the Bitcoin chain. Nobody's word is taken for what can be checked: a raw transaction always hashes to the id
 * that was asked for, and amounts that are signed come from there.
 *
 * Every method throws CairnError `chain-unavailable` when no source can be reached, and `chain-answer-invalid` when what
 * comes back has the wrong form or does not hash to what was asked for.
 */
export interface ChainSource {
  /** The best block. */
  tip(): Promise<ChainTip>;
  /**
   * Hash of the block at `height` in the best chain, or `undefined` above the tip. Tells a reorganisation from growth.
   */
  blockHash(height: number): Promise<string | undefined>;
  /** Use and unspent outputs of a scriptPubKey, those in the mempool too. */
  scriptActivity(script: Uint8Array): Promise<ScriptActivity>;
  transactionStatus(txid: Txid): Promise<TransactionStatus>;
  /**
   * Whether and by whom an output is spent, the mempool included.
   * @throws CairnError `chain-not-found` when the transaction that made it is not known
   */
  outspend(outpoint: Outpoint): Promise<OutspendStatus>;
  /**
   * The serialised transaction, whose hash has been checked.
   * @throws CairnError `chain-not-found`
   */
  rawTransaction(txid: Txid): Promise<Uint8Array>;
  /**
   * In which block of the best chain a transaction is, with a proof that has been checked; `undefined` for one that is in none.
   */
  inclusion(txid: Txid): Promise<Inclusion | undefined>;
  /** Estimates in ascending order of their targets; empty where the source has none (an idle test network). */
  feeEstimates(): Promise<readonly FeeEstimate[]>;
  /**
   * Publishes a transaction. One that is known already counts as published.
   * @throws CairnError `chain-rejected` when it breaks a rule (data: `detail`)
   */
  broadcast(raw: Uint8Array): Promise<Txid>;
}
