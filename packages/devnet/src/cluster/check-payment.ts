import { decodeAddress } from "@cairn/bitcoin";
import { fromHex, type Network, outpointText, type Txid, toHex } from "@cairn/core";
import type { Chain } from "../chain/chain.ts";
import { checkScripts } from "../chain/consensus-rules.ts";
import { decodeTransaction, type Transaction } from "../chain/transaction.ts";
import type { Recipient } from "./cluster-owner.ts";

export interface PaymentFacts {
  readonly txid: Txid;
  /** Signed transaction, hex, as a node gave it. */
  readonly rawTx: string;
  readonly recipients: readonly Recipient[];
  readonly network: Network;
}

/** A payment that holds. */
export interface CheckedPayment {
  readonly inputs: readonly { readonly amountSats: bigint; readonly scriptPubKey: string }[];
  readonly feeSats: bigint;
  /** Blocks on it, its own included. */
  readonly confirmations: number;
}

/**
 * Checks a payment without asking any node: the coins it spends are read from the chain, Bitcoin Core's interpreter judges every
 * input against them, every recipient gets exactly what was asked for, and the chain's best branch holds these very bytes.
 * @throws Error with the first thing that does not hold
 */
export function checkPayment(facts: PaymentFacts, chain: Chain): CheckedPayment {
  const transaction = decodeTransaction(fromHex(facts.rawTx));
  if (transaction.txid !== facts.txid)
    throw new Error(`the transaction is ${transaction.txid}, not ${facts.txid}`);
  const coins = transaction.inputs.map(({ outpoint }) => {
    const output = chain.transaction(outpoint.txid)?.outputs[outpoint.vout];
    if (output === undefined) throw new Error(`the chain has no coin ${outpointText(outpoint)}`);
    return { ...output, isCoinbase: false, height: undefined };
  });
  checkScripts(transaction, coins);
  facts.recipients.forEach(({ address, amountSats }, position) => {
    const output = transaction.outputs[position];
    const script = decodeAddress(address, facts.network).script;
    if (
      output === undefined ||
      output.amountSats !== amountSats ||
      toHex(output.scriptPubKey) !== toHex(script)
    )
      throw new Error(`recipient ${position + 1} does not get ${amountSats} sat`);
  });
  const found = chain.confirmation(transaction.txid);
  if (found === undefined) throw new Error(`the chain does not hold ${transaction.txid}`);
  const held = found.block.transactions[found.pos];
  if (held === undefined || toHex(held.raw) !== facts.rawTx)
    throw new Error("the chain holds another signed form of the transaction");
  return {
    inputs: coins.map(({ amountSats, scriptPubKey }) => ({ amountSats, scriptPubKey: toHex(scriptPubKey) })),
    feeSats: sum(coins) - sum(transaction.outputs),
    confirmations: chain.tip.height - found.block.height + 1,
  };
}

function sum(values: readonly Pick<Transaction["outputs"][number], "amountSats">[]): bigint {
  return values.reduce((total, { amountSats }) => total + amountSats, 0n);
}
