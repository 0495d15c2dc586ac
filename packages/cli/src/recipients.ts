import { decodeAddress, dustThreshold } from "@cairn/bitcoin";
import { CairnError, MAX_MONEY, type Network, type SpendOutput } from "@cairn/core";
import { parseAmount, satsText } from "./amount.ts";

/**
 * The recipients of `--to ADDRESS --amount AMOUNT`, repeated: each address with the amount at the same place.
 * @throws CairnError `malformed`, `address-invalid`, `wrong-network`, `amount-invalid`, `dust`
 */
export function readRecipients(
  to: readonly string[],
  amounts: readonly string[],
  network: Network,
): readonly SpendOutput[] {
  if (to.length === 0 || to.length !== amounts.length) {
    throw new CairnError(
      "malformed",
      `${to.length} × --to and ${amounts.length} × --amount: each recipient needs one of both, in the same order`,
      { to: to.length, amounts: amounts.length },
    );
  }
  const outputs = to.map((address, position): SpendOutput => {
    const { script } = decodeAddress(address, network);
    const amountSats = parseAmount(amounts[position] ?? "");
    const least = dustThreshold(script);
    if (amountSats < least) {
      throw new CairnError(
        "dust",
        `${satsText(amountSats)} to ${address} is less than it would cost to spend it; send at least ${satsText(least)}`,
        { address, leastSats: least.toString() },
      );
    }
    return { address, amountSats };
  });
  const total = outputs.reduce((sum, { amountSats }) => sum + amountSats, 0n);
  if (total > MAX_MONEY) {
    throw new CairnError(
      "amount-invalid",
      "the amounts together are more than 21,000,000 BTC; check the units",
    );
  }
  return outputs;
}
