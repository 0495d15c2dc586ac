import { test } from "node:test";
import { MAX_MONEY } from "@cairn/core";
import {
  buildPsbt,
  checkRecipient,
  checkRecipients,
  decodeAddress,
  encodeOutputScript,
  feeRate,
  selectCoins,
} from "../src/index.ts";
import { throwsReason } from "./assert-reason.ts";
import { fundedChain, seededRandom, strangerKey, testWallet } from "./test-wallet.ts";

const { script } = strangerKey("wpkh", 1);
const { descriptor } = testWallet("wpkh");
const { coins } = fundedChain(descriptor, [100_000n]);

const cases = [
  { why: "a negative amount", amounts: [-1n], reason: "output-amount" },
  { why: "an amount of zero", amounts: [0n], reason: "output-amount" },
  { why: "one satoshi more than all bitcoin", amounts: [MAX_MONEY + 1n], reason: "output-amount" },
  { why: "an amount that 64 bits don't hold", amounts: [2n ** 64n + 5000n], reason: "output-amount" },
  { why: "more than all bitcoin together", amounts: [MAX_MONEY, 1000n], reason: "output-amount" },
  { why: "dust", amounts: [293n], reason: "output-dust" },
  { why: "dust beside an honest amount", amounts: [5000n, 1n], reason: "output-dust" },
  { why: "nobody", amounts: [], reason: "no-recipients" },
] as const;

for (const { why, amounts, reason } of cases) {
  test(`a payment of ${why} is refused by the check and by the selection of coins`, () => {
    const recipients = amounts.map((amountSats) => ({ script, amountSats }));
    throwsReason(() => checkRecipients(recipients), reason);
    throwsReason(
      () =>
        selectCoins(
          {
            kind: "wpkh",
            coins,
            recipients,
            changeScript: script,
            feeRate: feeRate(1),
            maxFeeSats: 10_000n,
          },
          { random: seededRandom("recipients") },
        ),
      reason,
    );
  });
}

test("the builder writes no amount that the wire format would turn into another", () => {
  for (const amountSats of [-1n, MAX_MONEY + 1n, 2n ** 64n + 5000n]) {
    const plan = { descriptor, coins, lockTime: 0 };
    throwsReason(() => buildPsbt({ ...plan, recipients: [{ script, amountSats }] }), "output-amount");
    const change = { amountSats, index: 0, position: 0 };
    throwsReason(() => buildPsbt({ ...plan, recipients: [], change }), "output-amount");
  }
});

test("the least that is relayed, and all bitcoin, are amounts", () => {
  checkRecipients([{ script, amountSats: 294n }]);
  checkRecipients([{ script, amountSats: MAX_MONEY }]);
  const legacy = encodeOutputScript({ type: "p2pkh", program: new Uint8Array(20) });
  throwsReason(() => checkRecipient({ script: legacy, amountSats: 545n }, 0), "output-dust");
  checkRecipient({ script: legacy, amountSats: 546n }, 0);
});

test("an address of another network, misspelt, or of a witness version without rules is refused by name", () => {
  const mine = strangerKey("wpkh", 1).address;
  throwsReason(() => decodeAddress(mine, "mainnet"), "address-wrong-network");
  throwsReason(() => decodeAddress(`${mine.slice(0, -1)}b`, "regtest"), "address-bad-checksum");
  throwsReason(() => decodeAddress(mine.replace("q", "Q"), "regtest"), "address-mixed-case");
  throwsReason(() => decodeAddress("BC1SW50QGDZ25J", "mainnet"), "address-unknown-witness-version");
  throwsReason(() => decodeAddress(` ${mine}`, "regtest"), "address-malformed");
  throwsReason(() => decodeAddress("", "regtest"), "address-malformed");
});
