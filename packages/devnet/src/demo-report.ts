import type { CheckedPayment } from "./cluster/check-payment.ts";

/** One payment of the demo, as it was checked against the chain. */
export interface DemoTransaction {
  readonly keyType: "ecdsa" | "frost";
  readonly txid: string;
  /** Signed transaction, hex. */
  readonly rawTx: string;
  /** What each input spent: satoshi as a decimal string, locking script in hex. */
  readonly inputs: readonly { readonly amountSats: string; readonly scriptPubKey: string }[];
  readonly confirmations: number;
  /** Nodes whose partial signatures made it, ascending. */
  readonly signers: readonly number[];
  /** Milliseconds from the request to each stage, by the clock of the node that took it. */
  readonly timingsMs: Readonly<Record<string, number>>;
}

/** What `demo.json` holds. */
export interface DemoReport {
  readonly transactions: readonly DemoTransaction[];
  /** Whether, with two of five nodes stopped, a request ended without a signature. */
  readonly refusedWithTwoNodesDown: boolean;
  /** The processes, while all five ran. */
  readonly nodes: readonly { readonly index: number; readonly pid: number; readonly rssBytes: number }[];
}

/** A checked payment as the report shows it. */
export function demoTransaction(
  keyType: DemoTransaction["keyType"],
  seen: Pick<DemoTransaction, "txid" | "rawTx" | "signers" | "timingsMs">,
  checked: CheckedPayment,
): DemoTransaction {
  return {
    keyType,
    txid: seen.txid,
    rawTx: seen.rawTx,
    inputs: checked.inputs.map(({ amountSats, scriptPubKey }) => ({
      amountSats: amountSats.toString(),
      scriptPubKey,
    })),
    confirmations: checked.confirmations,
    signers: seen.signers,
    timingsMs: seen.timingsMs,
  };
}
