import { type HashHex, hashHexSchema, type KeyPath, type Outpoint, type Sats, toHex } from "@cairn/core";
import type { CheckedSpend } from "./check-psbt.ts";

/** What is signed for one input, in the form that grants carry. */
export interface SigningInput {
  readonly sighash: HashHex;
  readonly path: [KeyPath[0], KeyPath[1]];
  readonly outpoint: Outpoint;
  readonly amountSats: Sats;
}

/** The hash, path, coin and amount of each input, in the order of the transaction. */
export function signingInputs({ inputs }: Pick<CheckedSpend, "inputs">): SigningInput[] {
  return inputs.map(({ sighash, path, outpoint, amountSats }) => ({
    sighash: hashHexSchema.parse(toHex(sighash.digest)),
    path: [path[0], path[1]],
    outpoint,
    amountSats,
  }));
}
