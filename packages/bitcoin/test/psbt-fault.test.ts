import assert from "node:assert/strict";
import { test } from "node:test";
import { buildPsbt, checkPsbt, encodePsbt, type PsbtPlan, psbtFault } from "../src/index.ts";
import { throwsReason } from "./assert-reason.ts";
import { fundedChain, rulesFor, strangerKey, testWallet } from "./test-wallet.ts";

const { descriptor } = testWallet("tr");
const record = { descriptor: descriptor.text, network: descriptor.network };

/** A spend of one coin to a stranger, as `plan` changes it, and what its request asks for. */
function scene(plan: Partial<PsbtPlan> = {}) {
  const { coins } = fundedChain(descriptor, [100_000n]);
  const payee = strangerKey("wpkh", 1);
  const amountSats = 40_000n;
  const psbt = buildPsbt({
    descriptor,
    coins,
    recipients: [{ script: payee.script, amountSats }],
    change: { amountSats: 59_000n, index: 0, position: 1 },
    lockTime: 90,
    ...plan,
  });
  const rules = rulesFor(descriptor, [{ address: payee.address, amountSats }], { nextChangeIndex: 0 });
  return { psbt: encodePsbt(psbt, 2), rules };
}

test("a spend that does what its request asks has no fault, and one that does not has, for everybody and ever", () => {
  const sound = scene();
  assert.equal(psbtFault(sound.psbt, record, sound.rules.request, null), null);
  const dearer = { ...sound.rules.request, maxFeeSats: 1n };
  assert.equal(psbtFault(sound.psbt, record, dearer as typeof sound.rules.request, null), "fee-too-high");
  const stranger = strangerKey("wpkh", 2);
  const altered = scene({ recipients: [{ script: stranger.script, amountSats: 40_000n }] });
  assert.notEqual(psbtFault(altered.psbt, record, sound.rules.request, null), null);
  assert.notEqual(psbtFault(Uint8Array.of(1), record, sound.rules.request, null), null);
});

test("what another node's height or index may excuse is no fault", () => {
  for (const [reason, plan] of [
    ["psbt-locktime", { lockTime: 400_000_000 }],
    ["psbt-change-beyond-gap", { change: { amountSats: 59_000n, index: 5_000, position: 1 } }],
  ] as const) {
    const { psbt, rules } = scene(plan);
    throwsReason(() => checkPsbt(psbt, rules), reason);
    assert.equal(psbtFault(psbt, record, rules.request, null), null, reason);
  }
});
