import assert from "node:assert/strict";
import { test } from "node:test";
import { checkpointAnchor, outpointText, txidSchema } from "@cairn/core";
import fc from "fast-check";
import {
  anchoredIn,
  type BitcoinErrorReason,
  bitcoinErrorReason,
  buildPsbt,
  type CheckedSpend,
  checkPsbt,
  type DescriptorKind,
  deriveKey,
  encodePsbt,
  GAP_LIMIT,
  MAX_STANDARD_WEIGHT,
  type Psbt,
  type PsbtMap,
  type PsbtPlan,
  type PsbtRules,
  parseTransaction,
  psbtDerivation,
  psbtInputType,
  psbtOutputType,
  type TransactionOutput,
  type UnsignedTransaction,
  wire,
} from "../src/index.ts";
import { throwsReason } from "./assert-reason.ts";
import { fundedChain, rulesFor, strangerKey, testCheckpoint, testWallet } from "./test-wallet.ts";

const kinds = ["wpkh", "tr"] as const;
const anchor = testCheckpoint(3);
const otherAnchor = testCheckpoint(4);
const versions = [0, 2] as const;

/** Two coins of 100,000 and 100,001 sat; 40,000 and 50,000 sat to strangers; change of 109,001 in the middle; fee 1,000. */
function scene(kind: DescriptorKind, plan: Partial<PsbtPlan> = {}) {
  const { descriptor } = testWallet(kind);
  const { coins } = fundedChain(descriptor, [100_000n, 100_001n]);
  const payees = [strangerKey("wpkh", 1), strangerKey("tr", 2)];
  const outputs = payees.map(({ address }, i) => ({ address, amountSats: 40_000n + BigInt(i) * 10_000n }));
  const psbt = buildPsbt({
    descriptor,
    coins,
    recipients: payees.map(({ script }, i) => ({ script, amountSats: 40_000n + BigInt(i) * 10_000n })),
    change: { amountSats: 109_001n, index: 4, position: 1 },
    lockTime: 90,
    ...plan,
  });
  return { descriptor, coins, psbt, rules: rulesFor(descriptor, outputs, { nextChangeIndex: 2 }) };
}

function editTransaction(
  psbt: Psbt,
  edit: (transaction: UnsignedTransaction) => Partial<UnsignedTransaction>,
): Psbt {
  return { ...psbt, transaction: { ...psbt.transaction, ...edit(psbt.transaction) } };
}

function editOutput(psbt: Psbt, at: number, edit: Partial<TransactionOutput>): Psbt {
  return editTransaction(psbt, ({ outputs }) => ({
    outputs: outputs.map((output, i) => (i === at ? { ...output, ...edit } : output)),
  }));
}

function editInput(psbt: Psbt, edit: Partial<UnsignedTransaction["inputs"][number]>): Psbt {
  return editTransaction(psbt, ({ inputs }) => ({
    inputs: inputs.map((input, i) => (i === 0 ? { ...input, ...edit } : input)),
  }));
}

function editMap(psbt: Psbt, kind: "inputs" | "outputs", at: number, edit: (map: PsbtMap) => PsbtMap): Psbt {
  return { ...psbt, [kind]: psbt[kind].map((map, i) => (i === at ? edit(map) : map)) };
}

const record = (type: number, value: Uint8Array, keyData: Uint8Array = new Uint8Array()) => ({
  type,
  keyData,
  value,
});
const set =
  (type: number, value: Uint8Array) =>
  (map: PsbtMap): PsbtMap => [...map.filter((entry) => entry.type !== type), record(type, value)];
const drop =
  (...types: readonly number[]) =>
  (map: PsbtMap): PsbtMap =>
    map.filter((entry) => !types.includes(entry.type));
const replaceDerivation =
  (derivation: PsbtMap) =>
  (map: PsbtMap): PsbtMap => [
    ...map.filter((entry) => !derivation.some(({ type }) => type === entry.type)),
    ...derivation,
  ];

for (const kind of kinds) {
  for (const version of versions) {
    test(`${kind} v${version}: a PSBT that does what its request asks passes, with everything a signer needs`, () => {
      const { descriptor, psbt, rules, coins } = scene(kind);
      const spend = checkPsbt(encodePsbt(psbt, version), rules);
      assert.deepEqual(
        spend.inputs.map((input) => [outpointText(input.outpoint), input.amountSats, input.path]),
        coins.map((coin) => [outpointText(coin.outpoint), coin.amountSats, coin.path]),
      );
      assert.equal(spend.feeSats, 1_000n);
      assert.deepEqual(spend.change, {
        position: 1,
        path: [1, 4],
        amountSats: 109_001n,
        address: deriveKey(descriptor, [1, 4]).address,
      });
      assert.equal(spend.outputs.length, 3);
      for (const input of spend.inputs)
        assert.deepEqual(input.signingKey, deriveKey(descriptor, input.path).signingKey);
    });
  }
}

test("change may be absent, and stand at any position", () => {
  for (const position of [0, 1, 2]) {
    const { psbt, rules } = scene("tr", { change: { amountSats: 109_001n, index: 0, position } });
    assert.equal(checkPsbt(encodePsbt(psbt), rules).change?.position, position);
  }
  const { psbt, rules } = scene("wpkh", { change: undefined });
  const generous = {
    ...rules,
    request: {
      ...rules.request,
      maxFeeSats: rulesFor(rules.descriptor, [], { maxFeeSats: 200_000n }).request.maxFeeSats,
    },
  };
  assert.equal(checkPsbt(encodePsbt(psbt), generous).change, undefined);
});

test("a payment to the wallet's own address is a recipient, and may be labelled truthfully", () => {
  const { descriptor } = testWallet("wpkh");
  const own = deriveKey(descriptor, [0, 9]);
  const { coins } = fundedChain(descriptor, [100_000n]);
  const psbt = buildPsbt({
    descriptor,
    coins,
    recipients: [{ script: own.script, amountSats: 99_000n }],
    lockTime: 0,
  });
  const rules = rulesFor(descriptor, [{ address: own.address, amountSats: 99_000n }]);
  assert.equal(checkPsbt(encodePsbt(psbt), rules).change, undefined);
  const labelled = editMap(psbt, "outputs", 0, () => psbtDerivation(descriptor, [0, 9], "output"));
  assert.equal(checkPsbt(encodePsbt(labelled), rules).change, undefined);
});

/** {@link scene} with a last output that carries `data`; without change where `plan` says so. */
function anchoredScene(data: Uint8Array, plan: Partial<PsbtPlan> = {}) {
  const { psbt, rules } = scene("tr", { data, ...plan });
  return { psbt, rules: { ...rules, anchor } };
}

for (const kind of kinds) {
  test(`${kind}: a spend may anchor the checkpoint that it names, in a last output without amount`, () => {
    const { psbt, rules } = scene(kind, { data: checkpointAnchor(anchor) });
    const spend = checkPsbt(encodePsbt(psbt), { ...rules, anchor });
    assert.equal(spend.outputs.length, 3);
    assert.equal(spend.psbt.transaction.outputs.length, 4);
    assert.equal(spend.feeSats, 1_000n);
    assert.ok(anchoredIn(spend.psbt.transaction, anchor));
    const bare = checkPsbt(encodePsbt(scene(kind).psbt), scene(kind).rules);
    // 8 bytes of amount, 1 of length, OP_RETURN, 1 of length, 38 of data.
    assert.equal(spend.vsize - bare.vsize, 49);
  });
}

{
  const data = checkpointAnchor(anchor);
  const refused: readonly [string, Psbt, BitcoinErrorReason][] = [
    ["another checkpoint", anchoredScene(checkpointAnchor(otherAnchor)).psbt, "psbt-anchor-changed"],
    ["anything", anchoredScene(Buffer.from("hello")).psbt, "psbt-anchor-changed"],
    ["another tag", anchoredScene(data.with(0, 0x43)).psbt, "psbt-anchor-changed"],
    ["a byte more", anchoredScene(Uint8Array.of(...data, 0)).psbt, "psbt-anchor-changed"],
    ["an amount", editOutput(anchoredScene(data).psbt, 3, { amountSats: 1n }), "psbt-anchor-changed"],
    [
      "another push",
      editOutput(anchoredScene(data).psbt, 3, { script: Uint8Array.of(0x6a, 0x4c, 38, ...data) }),
      "psbt-anchor-missing",
    ],
    ["no anchor", scene("tr").psbt, "psbt-anchor-missing"],
    [
      "two anchors",
      editTransaction(anchoredScene(data).psbt, ({ outputs }) => ({
        outputs: [...outputs, ...outputs.slice(-1)],
      })),
      "psbt-too-many-outputs",
    ],
    [
      "the anchor in place of change, and change last",
      editTransaction(anchoredScene(data).psbt, ({ outputs }) => ({
        outputs: [outputs[0], outputs[3], outputs[2], outputs[1]].flatMap((output) => output ?? []),
      })),
      "psbt-anchor-missing",
    ],
  ];
  for (const [name, psbt, reason] of refused) {
    test(`a receiver that puts other data into the anchor's place is refused: ${name}`, () => {
      const whole = { ...psbt, outputs: psbt.transaction.outputs.map((_, i) => psbt.outputs[i] ?? []) };
      throwsReason(() => checkPsbt(encodePsbt(whole), anchoredScene(data).rules), reason);
    });
  }
}

test("a data output where no checkpoint is named is refused, with change and without", () => {
  const data = checkpointAnchor(anchor);
  const withChange = scene("tr", { data });
  throwsReason(() => checkPsbt(encodePsbt(withChange.psbt), withChange.rules), "psbt-too-many-outputs");
  const without = scene("tr", { data, change: undefined });
  throwsReason(() => checkPsbt(encodePsbt(without.psbt), without.rules), "psbt-change-derivation-missing");
});

test("an anchor's map claims no key of the wallet", () => {
  const { psbt, rules } = anchoredScene(checkpointAnchor(anchor));
  const labelled = editMap(psbt, "outputs", 3, () => psbtDerivation(rules.descriptor, [1, 4], "output"));
  throwsReason(() => checkPsbt(encodePsbt(labelled), rules), "psbt-output-derivation-wrong");
});

interface Alteration {
  readonly name: string;
  readonly reason: BitcoinErrorReason;
  readonly of: (psbt: Psbt, kind: DescriptorKind) => Psbt;
  readonly rules?: (rules: PsbtRules) => PsbtRules;
  readonly only?: DescriptorKind;
  readonly version?: 0 | 2;
}

const foreign = (kind: DescriptorKind) => testWallet(kind, "another wallet").descriptor;
const own = (kind: DescriptorKind) => testWallet(kind).descriptor;
const inputDerivation = (kind: DescriptorKind) =>
  kind === "tr" ? psbtInputType.tapDerivation : psbtInputType.derivation;
const outputDerivation = (kind: DescriptorKind) =>
  kind === "tr" ? psbtOutputType.tapDerivation : psbtOutputType.derivation;
const identity = (psbt: Psbt) => psbt;
const changeTo = (psbt: Psbt, kind: DescriptorKind, path: readonly [0 | 1, number]) =>
  editMap(editOutput(psbt, 1, { script: deriveKey(own(kind), path).script }), "outputs", 1, () =>
    psbtDerivation(own(kind), path, "output"),
  );

const alterations: readonly Alteration[] = [
  {
    name: "request of another network",
    reason: "psbt-wrong-network",
    of: identity,
    rules: (rules) => ({ ...rules, request: { ...rules.request, network: "signet" } }),
  },
  {
    name: "request of another wallet",
    reason: "psbt-wrong-wallet",
    of: identity,
    rules: (rules) => ({ ...rules, request: { ...rules.request, wallet: foreign("tr").wallet } }),
  },
  {
    name: "transaction version 1",
    reason: "psbt-transaction-version",
    of: (psbt) => editTransaction(psbt, () => ({ version: 1 })),
  },
  {
    name: "transaction version 3",
    reason: "psbt-transaction-version",
    of: (psbt) => editTransaction(psbt, () => ({ version: 3 })),
  },
  {
    name: "locktime one block ahead",
    reason: "psbt-locktime",
    of: (psbt) => editTransaction(psbt, () => ({ lockTime: 101 })),
  },
  {
    name: "locktime by time",
    reason: "psbt-locktime",
    of: (psbt) => editTransaction(psbt, () => ({ lockTime: 500_000_000 })),
    rules: (rules) => ({ ...rules, tipHeight: 900_000_000 }),
  },
  {
    name: "no inputs",
    reason: "psbt-no-inputs",
    version: 2,
    of: (psbt) => ({ ...editTransaction(psbt, () => ({ inputs: [] })), inputs: [] }),
  },
  {
    name: "the same input twice",
    reason: "psbt-duplicate-input",
    of: (psbt) => ({
      ...editTransaction(psbt, ({ inputs }) => ({ inputs: [...inputs.slice(0, 1), ...inputs.slice(0, 1)] })),
      inputs: [...psbt.inputs.slice(0, 1), ...psbt.inputs.slice(0, 1)],
    }),
  },
  {
    name: "final sequence",
    reason: "psbt-sequence",
    of: (psbt) => editInput(psbt, { sequence: 0xffffffff }),
  },
  { name: "relative lock", reason: "psbt-sequence", of: (psbt) => editInput(psbt, { sequence: 144 }) },
  {
    name: "another outpoint",
    reason: "psbt-previous-transaction-mismatch",
    of: (psbt) => editInput(psbt, { txid: txidSchema.parse("ab".repeat(32)) }),
  },
  {
    name: "an output that does not exist",
    reason: "psbt-previous-output-missing",
    of: (psbt) => editInput(psbt, { vout: 1 }),
  },
  {
    name: "SIGHASH_NONE",
    reason: "psbt-sighash-type",
    of: (psbt) => editMap(psbt, "inputs", 0, set(psbtInputType.sighashType, wire.u32(2))),
  },
  {
    name: "SIGHASH_SINGLE",
    reason: "psbt-sighash-type",
    of: (psbt) => editMap(psbt, "inputs", 1, set(psbtInputType.sighashType, wire.u32(3))),
  },
  {
    name: "SIGHASH_ALL with ANYONECANPAY",
    reason: "psbt-sighash-type",
    of: (psbt) => editMap(psbt, "inputs", 0, set(psbtInputType.sighashType, wire.u32(0x81))),
  },
  {
    name: "SIGHASH_ALL for taproot",
    reason: "psbt-sighash-type",
    only: "tr",
    of: (psbt) => editMap(psbt, "inputs", 0, set(psbtInputType.sighashType, wire.u32(1))),
  },
  {
    name: "SIGHASH_DEFAULT for ECDSA",
    reason: "psbt-sighash-type",
    only: "wpkh",
    of: (psbt) => editMap(psbt, "inputs", 0, set(psbtInputType.sighashType, wire.u32(0))),
  },
  {
    name: "no previous transaction",
    reason: "psbt-previous-transaction-missing",
    of: (psbt) => editMap(psbt, "inputs", 0, drop(psbtInputType.nonWitnessUtxo)),
  },
  {
    name: "another previous transaction",
    reason: "psbt-previous-transaction-mismatch",
    of: (psbt) =>
      editMap(
        psbt,
        "inputs",
        0,
        set(
          psbtInputType.nonWitnessUtxo,
          psbt.inputs[1]?.find((entry) => entry.type === 0)?.value ?? new Uint8Array(),
        ),
      ),
  },
  {
    name: "a previous transaction that claims more",
    reason: "psbt-previous-transaction-mismatch",
    of: (psbt) =>
      editMap(psbt, "inputs", 0, (map) =>
        map.map((entry) =>
          entry.type === psbtInputType.nonWitnessUtxo ? { ...entry, value: inflate(entry.value) } : entry,
        ),
      ),
  },
  {
    name: "bytes instead of a previous transaction",
    reason: "transaction-malformed",
    of: (psbt) => editMap(psbt, "inputs", 0, set(psbtInputType.nonWitnessUtxo, Uint8Array.of(1, 2, 3))),
  },
  {
    name: "no witness UTXO",
    reason: "psbt-witness-utxo-missing",
    of: (psbt) => editMap(psbt, "inputs", 0, drop(psbtInputType.witnessUtxo)),
  },
  {
    name: "a witness UTXO with another amount",
    reason: "psbt-witness-utxo-mismatch",
    of: (psbt) =>
      editMap(psbt, "inputs", 0, (map) =>
        map.map((entry) =>
          entry.type === psbtInputType.witnessUtxo
            ? { ...entry, value: Uint8Array.of(1, ...entry.value.slice(1)) }
            : entry,
        ),
      ),
  },
  {
    name: "a witness UTXO with another script",
    reason: "psbt-witness-utxo-mismatch",
    of: (psbt) =>
      editMap(psbt, "inputs", 0, (map) =>
        map.map((entry) =>
          entry.type === psbtInputType.witnessUtxo
            ? { ...entry, value: Uint8Array.of(...entry.value.slice(0, -1), 7) }
            : entry,
        ),
      ),
  },
  {
    name: "no derivation of an input",
    reason: "psbt-input-derivation-missing",
    of: (psbt, kind) => editMap(psbt, "inputs", 0, drop(inputDerivation(kind))),
  },
  {
    name: "no internal key",
    reason: "psbt-input-derivation-missing",
    only: "tr",
    of: (psbt) => editMap(psbt, "inputs", 0, drop(psbtInputType.tapInternalKey)),
  },
  {
    name: "another wallet's derivation",
    reason: "psbt-input-derivation-wrong",
    of: (psbt, kind) =>
      editMap(psbt, "inputs", 0, replaceDerivation(psbtDerivation(foreign(kind), [0, 0], "input"))),
  },
  {
    name: "the derivation of another key of the wallet",
    reason: "psbt-input-not-ours",
    of: (psbt, kind) =>
      editMap(psbt, "inputs", 0, replaceDerivation(psbtDerivation(own(kind), [0, 1], "input"))),
  },
  {
    name: "a derivation with another path",
    reason: "psbt-input-derivation-wrong",
    of: (psbt, kind) =>
      editMap(psbt, "inputs", 0, (map) =>
        map.map((entry) =>
          entry.type === inputDerivation(kind)
            ? { ...entry, value: Uint8Array.of(...entry.value.slice(0, -4), 1, 0, 0, 0) }
            : entry,
        ),
      ),
  },
  {
    name: "a derivation that is too long",
    reason: "psbt-input-derivation-wrong",
    of: (psbt, kind) =>
      editMap(psbt, "inputs", 0, (map) =>
        map.map((entry) =>
          entry.type === inputDerivation(kind)
            ? {
                ...entry,
                value: Uint8Array.of(...entry.value.slice(0, -8), 9, 0, 0, 0, ...entry.value.slice(-8)),
              }
            : entry,
        ),
      ),
  },
  {
    name: "an internal key of another key",
    reason: "psbt-input-derivation-wrong",
    only: "tr",
    of: (psbt, kind) =>
      editMap(psbt, "inputs", 0, set(psbtInputType.tapInternalKey, deriveKey(own(kind), [0, 1]).xOnlyKey)),
  },
  {
    name: "a second derivation",
    reason: "psbt-input-derivation-wrong",
    of: (psbt, kind) =>
      editMap(psbt, "inputs", 0, (map) => [
        ...map,
        ...psbtDerivation(own(kind), [0, 1], "input").filter((entry) => entry.type === inputDerivation(kind)),
      ]),
  },
  {
    name: "a partial signature",
    reason: "psbt-already-signed",
    of: (psbt, kind) =>
      editMap(psbt, "inputs", 0, (map) => [
        ...map,
        record(psbtInputType.partialSignature, new Uint8Array(70), deriveKey(own(kind), [0, 0]).publicKey),
      ]),
  },
  {
    name: "a final witness",
    reason: "psbt-already-signed",
    of: (psbt) => editMap(psbt, "inputs", 0, set(psbtInputType.finalScriptWitness, Uint8Array.of(1, 0))),
  },
  {
    name: "a taproot signature",
    reason: "psbt-already-signed",
    of: (psbt) => editMap(psbt, "inputs", 0, set(psbtInputType.tapKeySignature, new Uint8Array(64))),
  },
  {
    name: "a redeem script",
    reason: "psbt-unexpected-field",
    of: (psbt) => editMap(psbt, "inputs", 0, set(psbtInputType.redeemScript, Uint8Array.of(0x51))),
  },
  {
    name: "a witness script",
    reason: "psbt-unexpected-field",
    of: (psbt) => editMap(psbt, "inputs", 0, set(psbtInputType.witnessScript, Uint8Array.of(0x51))),
  },
  {
    name: "a script tree",
    reason: "psbt-unexpected-field",
    of: (psbt) => editMap(psbt, "inputs", 0, set(psbtInputType.tapMerkleRoot, new Uint8Array(32))),
  },
  {
    name: "a required locktime",
    reason: "psbt-unexpected-field",
    version: 2,
    of: (psbt) => editMap(psbt, "inputs", 0, set(psbtInputType.requiredHeight, wire.u32(90))),
  },
  {
    name: "an unknown global field",
    reason: "psbt-unknown-field",
    of: (psbt) => ({ ...psbt, global: [record(0x77, Uint8Array.of(1))] }),
  },
  {
    name: "a proprietary global field",
    reason: "psbt-unknown-field",
    of: (psbt) => ({ ...psbt, global: [record(0xfc, Uint8Array.of(1), Uint8Array.of(1, 2, 3))] }),
  },
  {
    name: "an unknown input field",
    reason: "psbt-unknown-field",
    of: (psbt) => editMap(psbt, "inputs", 1, set(0x77, Uint8Array.of(1))),
  },
  {
    name: "a proprietary output field",
    reason: "psbt-unknown-field",
    of: (psbt) => editMap(psbt, "outputs", 0, set(0xfc, Uint8Array.of(1))),
  },
  {
    name: "modifiable inputs",
    reason: "psbt-modifiable",
    version: 2,
    of: (psbt) => ({ ...psbt, global: [record(0x06, Uint8Array.of(1))] }),
  },
  {
    name: "a recipient left out",
    reason: "psbt-recipient-missing",
    of: (psbt) => ({
      ...editTransaction(psbt, ({ outputs }) => ({ outputs: outputs.slice(0, 1) })),
      outputs: psbt.outputs.slice(0, 1),
    }),
  },
  {
    name: "another recipient",
    reason: "psbt-recipient-changed",
    of: (psbt) => editOutput(psbt, 0, { script: strangerKey("wpkh", 9).script }),
  },
  {
    name: "another last recipient",
    reason: "psbt-recipient-changed",
    of: (psbt) => editOutput(psbt, 2, { script: strangerKey("wpkh", 9).script }),
  },
  {
    name: "recipients exchanged",
    reason: "psbt-recipient-changed",
    of: (psbt) =>
      editTransaction(psbt, ({ outputs }) => ({
        outputs: [...outputs.slice(2), ...outputs.slice(1, 2), ...outputs.slice(0, 1)],
      })),
  },
  {
    name: "a smaller amount",
    reason: "psbt-amount-changed",
    of: (psbt) => editOutput(psbt, 0, { amountSats: 39_999n }),
  },
  {
    name: "a larger amount",
    reason: "psbt-amount-changed",
    of: (psbt) => editOutput(psbt, 2, { amountSats: 50_001n }),
  },
  {
    name: "a further output",
    reason: "psbt-too-many-outputs",
    of: (psbt) => ({
      ...editTransaction(psbt, ({ outputs }) => ({
        outputs: [...outputs, { script: strangerKey("wpkh", 9).script, amountSats: 1_000n }],
      })),
      outputs: [...psbt.outputs, []],
    }),
  },
  {
    name: "change to a stranger",
    reason: "psbt-change-derivation-missing",
    of: (psbt) =>
      editMap(editOutput(psbt, 1, { script: strangerKey("tr", 9).script }), "outputs", 1, () => []),
  },
  {
    name: "change to a stranger under our label",
    reason: "psbt-output-derivation-wrong",
    of: (psbt) => editOutput(psbt, 1, { script: strangerKey("tr", 9).script }),
  },
  {
    name: "change without its derivation",
    reason: "psbt-change-derivation-missing",
    of: (psbt) => editMap(psbt, "outputs", 1, () => []),
  },
  {
    name: "change under another wallet's label",
    reason: "psbt-output-derivation-wrong",
    of: (psbt, kind) =>
      editMap(psbt, "outputs", 1, replaceDerivation(psbtDerivation(foreign(kind), [1, 4], "output"))),
  },
  {
    name: "change on the receive branch",
    reason: "psbt-change-wrong-branch",
    of: (psbt, kind) => changeTo(psbt, kind, [0, 4]),
  },
  {
    name: "change beyond the gap",
    reason: "psbt-change-beyond-gap",
    of: (psbt, kind) => changeTo(psbt, kind, [1, 2 + GAP_LIMIT]),
  },
  {
    name: "change far beyond the gap",
    reason: "psbt-change-beyond-gap",
    of: (psbt, kind) => changeTo(psbt, kind, [1, 0x7fffffff]),
  },
  {
    name: "dust as change",
    reason: "psbt-change-dust",
    of: (psbt) => editOutput(psbt, 1, { amountSats: 293n }),
    rules: (rules) => ({
      ...rules,
      request: {
        ...rules.request,
        maxFeeSats: rulesFor(rules.descriptor, [], { maxFeeSats: 200_000n }).request.maxFeeSats,
      },
    }),
  },
  {
    name: "a recipient under our label",
    reason: "psbt-output-derivation-wrong",
    of: (psbt, kind) => editMap(psbt, "outputs", 0, () => psbtDerivation(own(kind), [1, 4], "output")),
  },
  {
    name: "a script on an output",
    reason: "psbt-unexpected-field",
    of: (psbt) => editMap(psbt, "outputs", 0, set(psbtOutputType.redeemScript, Uint8Array.of(0x51))),
  },
  {
    name: "a second derivation of the change",
    reason: "psbt-output-derivation-wrong",
    of: (psbt, kind) =>
      editMap(psbt, "outputs", 1, (map) => [
        ...map,
        ...psbtDerivation(own(kind), [1, 5], "output").filter(
          (entry) => entry.type === outputDerivation(kind),
        ),
      ]),
  },
  {
    name: "an amount beyond all bitcoin",
    reason: "psbt-amount-out-of-range",
    of: (psbt) => editOutput(psbt, 1, { amountSats: 2_100_000_000_000_001n }),
  },
  {
    name: "outputs above inputs",
    reason: "psbt-fee-negative",
    of: (psbt) => editOutput(psbt, 1, { amountSats: 110_002n }),
  },
  {
    name: "a fee above the maximum",
    reason: "psbt-fee-above-maximum",
    of: (psbt) => editOutput(psbt, 1, { amountSats: 100_000n }),
  },
  {
    name: "no fee",
    reason: "psbt-fee-below-relay",
    of: (psbt) => editOutput(psbt, 1, { amountSats: 110_001n }),
  },
];

/** The same transaction with one satoshi more in its first output. */
function inflate(raw: Uint8Array): Uint8Array {
  const { outputs } = parseTransaction(raw);
  const needle = Buffer.from(wire.u64(outputs[0]?.amountSats ?? 0n));
  const copy = Buffer.from(raw);
  copy.writeBigUInt64LE((outputs[0]?.amountSats ?? 0n) + 1n, copy.indexOf(needle));
  return Uint8Array.from(copy);
}

for (const { name, reason, of, rules: editRules, only, version: onlyVersion } of alterations) {
  for (const kind of kinds.filter((k) => only === undefined || only === k)) {
    for (const version of versions.filter((v) => onlyVersion === undefined || onlyVersion === v)) {
      test(`${kind} v${version}: refuses ${name} (${reason})`, () => {
        const { psbt, rules } = scene(kind);
        throwsReason(
          () => checkPsbt(encodePsbt(of(psbt, kind), version), editRules?.(rules) ?? rules),
          reason,
        );
      });
    }
  }
}

test("a request that pays dust, or to an address of another network, is refused", () => {
  const { descriptor } = testWallet("wpkh");
  const { coins } = fundedChain(descriptor, [100_000n]);
  const payee = strangerKey("wpkh", 1);
  const psbt = buildPsbt({
    descriptor,
    coins,
    recipients: [{ script: payee.script, amountSats: 293n }],
    lockTime: 0,
  });
  const rules = rulesFor(descriptor, [{ address: payee.address, amountSats: 293n }], {
    maxFeeSats: 100_000n,
  });
  throwsReason(() => checkPsbt(encodePsbt(psbt), rules), "output-dust");
  const elsewhere = [{ address: "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", amountSats: 293n }];
  throwsReason(() => checkPsbt(encodePsbt(psbt), rulesFor(descriptor, elsewhere)), "address-wrong-network");
});

test("a transaction heavier than nodes relay is refused", () => {
  const { descriptor } = testWallet("wpkh");
  const amounts = Array.from({ length: Math.ceil(MAX_STANDARD_WEIGHT / 272) }, (_, i) => 10_000n + BigInt(i));
  const { coins } = fundedChain(descriptor, amounts);
  const payee = strangerKey("wpkh", 1);
  const amountSats = amounts.reduce((a, b) => a + b) - 5_000n;
  const psbt = buildPsbt({
    descriptor,
    coins,
    recipients: [{ script: payee.script, amountSats }],
    lockTime: 0,
  });
  throwsReason(
    () => checkPsbt(encodePsbt(psbt), rulesFor(descriptor, [{ address: payee.address, amountSats }])),
    "psbt-weight",
  );
});

/** What the owner asked for and what the wallet keeps; all that the request leaves open is the change's amount and the locktime. */
function assertHonest(spend: CheckedSpend, rules: PsbtRules, original: CheckedSpend) {
  const change = spend.change?.position;
  assert.deepEqual(
    spend.outputs.filter((_, i) => i !== change).map(({ address, amountSats }) => ({ address, amountSats })),
    rules.request.outputs,
  );
  assert.deepEqual(spend.change?.path, original.change?.path);
  assert.ok(spend.feeSats <= rules.request.maxFeeSats);
  const coins = ({ inputs }: CheckedSpend) => inputs.map(({ sighash: _, ...input }) => input);
  assert.deepEqual(coins(spend), coins(original));
  const digests = ({ inputs }: CheckedSpend) =>
    inputs.map((input) => Buffer.from(input.sighash.digest).toString("hex"));
  assert.equal(
    spend.txid === original.txid,
    JSON.stringify(digests(spend)) === JSON.stringify(digests(original)),
  );
}

test("whatever single byte of a PSBT is altered, it is refused or still does exactly what was asked", () => {
  for (const kind of kinds) {
    for (const version of versions) {
      const { psbt, rules } = scene(kind);
      const encoded = encodePsbt(psbt, version);
      const original = checkPsbt(encoded, rules);
      fc.assert(
        fc.property(fc.nat(encoded.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
          const altered = encoded.slice();
          altered[at] = (altered[at] ?? 0) ^ flip;
          let spend: CheckedSpend;
          try {
            spend = checkPsbt(altered, rules);
          } catch (error) {
            assert.ok(bitcoinErrorReason(error), String(error));
            return;
          }
          assertHonest(spend, rules, original);
        }),
        { numRuns: 400 },
      );
    }
  }
});
