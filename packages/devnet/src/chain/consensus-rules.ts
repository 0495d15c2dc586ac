import { MAX_MONEY, outpointText } from "@cairn/core";
import { verifyInput } from "@cairn/native-script";
import type { Coin, CoinView } from "./coins.ts";
import { rejection, rpcErrors } from "./rejection.ts";
import { isNullOutpoint, type Transaction } from "./transaction.ts";

/** Heaviest block, in weight units (BIP-141). */
export const maxBlockWeight = 4_000_000;

/** Blocks that must lie on a coinbase before it can be spent. */
export const coinbaseMaturity = 100;

/** Regtest halves the subsidy this often. */
export const halvingInterval = 150;

/** New satoshis that the block at `height` may create. */
export function subsidySats(height: number): bigint {
  const halvings = Math.floor(height / halvingInterval);
  return halvings >= 64 ? 0n : 5_000_000_000n >> BigInt(halvings);
}

/**
 * The checks that need nothing but the transaction (Bitcoin Core's `CheckTransaction`).
 * @throws CairnError `chain-rejected`
 */
export function checkTransaction(transaction: Transaction): void {
  const { inputs, outputs } = transaction;
  if (inputs.length === 0) throw rejection("bad-txns-vin-empty");
  if (outputs.length === 0) throw rejection("bad-txns-vout-empty");
  if (transaction.strippedSize * 4 > maxBlockWeight) throw rejection("bad-txns-oversize");
  let total = 0n;
  for (const { amountSats } of outputs) {
    if (amountSats < 0n) throw rejection("bad-txns-vout-negative");
    if (amountSats > MAX_MONEY) throw rejection("bad-txns-vout-toolarge");
    total += amountSats;
    if (total > MAX_MONEY) throw rejection("bad-txns-txouttotal-toolarge");
  }
  if (new Set(inputs.map((input) => outpointText(input.outpoint))).size !== inputs.length) {
    throw rejection("bad-txns-inputs-duplicate");
  }
  if (transaction.isCoinbase) {
    const length = inputs[0]?.scriptSig.length ?? 0;
    if (length < 2 || length > 100) throw rejection("bad-cb-length");
  } else if (inputs.some((input) => isNullOutpoint(input.outpoint))) {
    throw rejection("bad-txns-prevout-null");
  }
}

/** The coins that a transaction spends, in its inputs' order, and the fee that it leaves. */
export interface CheckedInputs {
  readonly coins: readonly Coin[];
  readonly feeSats: bigint;
}

/**
 * Finds the coins that `transaction` spends and checks maturity and amounts for a block at `height` (Bitcoin Core's
 * `CheckTxInputs`).
 * @throws CairnError `chain-rejected`
 */
export function checkInputs(transaction: Transaction, view: CoinView, height: number): CheckedInputs {
  const coins: Coin[] = [];
  let inSats = 0n;
  for (const { outpoint } of transaction.inputs) {
    const coin = view.get(outpoint);
    if (coin === undefined) {
      throw rejection("bad-txns-inputs-missingorspent", undefined, rpcErrors.transaction);
    }
    if (coin.isCoinbase && coin.height !== undefined && height - coin.height < coinbaseMaturity) {
      const depth = height - coin.height;
      throw rejection("bad-txns-premature-spend-of-coinbase", `tried to spend coinbase at depth ${depth}`);
    }
    inSats += coin.amountSats;
    if (coin.amountSats > MAX_MONEY || inSats > MAX_MONEY) throw rejection("bad-txns-inputvalues-outofrange");
    coins.push(coin);
  }
  const outSats = transaction.outputs.reduce((sum, output) => sum + output.amountSats, 0n);
  if (inSats < outSats) {
    throw rejection(
      "bad-txns-in-belowout",
      `value in (${bitcoins(inSats)}) < value out (${bitcoins(outSats)})`,
    );
  }
  return { coins, feeSats: inSats - outSats };
}

/**
 * Asks Bitcoin Core's interpreter about every input.
 * @param coins the coins that the inputs spend, in order
 * @throws CairnError `chain-rejected` with `mandatory-script-verify-flag-failed`
 */
export function checkScripts(transaction: Transaction, coins: readonly Coin[]): void {
  const spent = coins.map(({ amountSats, scriptPubKey }) => ({ amountSats, scriptPubKey }));
  transaction.inputs.forEach((input, index) => {
    try {
      verifyInput(transaction.raw, index, spent);
    } catch (cause) {
      if (!(cause instanceof Error && "code" in cause && cause.code === "script-failed")) throw cause;
      const error = rejection(
        "mandatory-script-verify-flag-failed",
        `input ${index} of ${transaction.txid} (wtxid ${transaction.wtxid}), spending ${outpointText(input.outpoint)}`,
      );
      error.cause = cause;
      throw error;
    }
  });
}

/** `sats` as Bitcoin Core prints amounts: in bitcoins with two to eight decimals. */
export function bitcoins(sats: bigint): string {
  const [sign, value] = sats < 0n ? ["-", -sats] : ["", sats];
  const decimals = (value % 100_000_000n)
    .toString()
    .padStart(8, "0")
    .replace(/0{1,6}$/, "");
  return `${sign}${value / 100_000_000n}.${decimals}`;
}
