import assert from "node:assert/strict";
import { test } from "node:test";
import { txidSchema } from "@cairn/core";
import {
  encodeSignedTransaction,
  inputWeight,
  PSBT_SEQUENCE,
  parseTransaction,
  transactionWeight,
  virtualSize,
} from "../src/index.ts";
import { strangerKey } from "./test-wallet.ts";

const short = strangerKey("wpkh", 0).script;
const long = strangerKey("tr", 0).script;
const txid = txidSchema.parse("ab".repeat(32));
/** The largest witness of each kind of input. */
const witnesses = {
  wpkh: [new Uint8Array(72), new Uint8Array(33)],
  tr: [new Uint8Array(64)],
};

test("an input weighs 272 (P2WPKH, largest signature) or 230 (P2TR key path)", () => {
  assert.equal(inputWeight("wpkh"), 272);
  assert.equal(inputWeight("tr"), 230);
});

for (const kind of ["wpkh", "tr"] as const) {
  for (const inputs of [1, 2, 252, 253, 300]) {
    for (const outputs of [1, 2, 252, 253]) {
      test(`${kind}: the weight of ${inputs} inputs and ${outputs} outputs is that of the serialised transaction`, () => {
        const scripts = Array.from({ length: outputs }, (_, i) => (i % 2 === 0 ? short : long));
        const transaction = {
          version: 2,
          lockTime: 0,
          inputs: Array.from({ length: inputs }, (_, vout) => ({ txid, vout, sequence: PSBT_SEQUENCE })),
          outputs: scripts.map((script) => ({ script, amountSats: 1_000n })),
        };
        const raw = encodeSignedTransaction(
          transaction,
          transaction.inputs.map(() => witnesses[kind]),
        );
        assert.equal(parseTransaction(raw).weight, transactionWeight(kind, inputs, scripts));
      });
    }
  }
}

test("virtual size rounds a quarter of the weight up", () => {
  assert.deepEqual([396, 397, 400].map(virtualSize), [99, 100, 100]);
});
