import { MAX_MONEY } from "@cairn/core";
import { bitcoinError } from "./bitcoin-error.ts";
import { dustThreshold } from "./dust.ts";
import type { TransactionOutput } from "./transaction.ts";

/**
 * Checks what a payment gives one recipient.
 *
 * @param position its place among the recipients, for the error's data
 * @throws CairnError `output-amount` for zero, less, or more than all bitcoin; `output-dust` (data: `leastSats`)
 */
export function checkRecipient({ amountSats, script }: TransactionOutput, position: number): void {
  const data = { output: position, amountSats: amountSats.toString() };
  if (amountSats <= 0n) {
    throw bitcoinError(
      "output-amount",
      `Recipient ${position + 1} would get ${amountSats} sat; each gets an amount above zero.`,
      data,
    );
  }
  if (amountSats > MAX_MONEY) {
    throw bitcoinError(
      "output-amount",
      `Recipient ${position + 1} would get more than the 21,000,000 BTC that will ever exist. Check the unit: satoshi, not BTC.`,
      data,
    );
  }
  const least = dustThreshold(script);
  if (amountSats < least) {
    throw bitcoinError(
      "output-dust",
      `No node relays an output of ${amountSats} sat; send recipient ${position + 1} at least ${least} sat.`,
      { ...data, leastSats: least.toString() },
    );
  }
}

/**
 * {@link checkRecipient} for all recipients of a payment, and for what they get together.
 * @throws CairnError `no-recipients`, `output-amount`, `output-dust`
 */
export function checkRecipients(recipients: readonly TransactionOutput[]): void {
  if (recipients.length === 0) {
    throw bitcoinError("no-recipients", "A payment needs at least one recipient.");
  }
  recipients.forEach(checkRecipient);
  const total = recipients.reduce((sum, output) => sum + output.amountSats, 0n);
  if (total > MAX_MONEY) {
    throw bitcoinError(
      "output-amount",
      "The recipients together would get more than the 21,000,000 BTC that will ever exist. Check the unit: satoshi, not BTC.",
      { amountSats: total.toString() },
    );
  }
}
