import assert from "node:assert/strict";
import { test } from "node:test";
import { txidSchema } from "@cairn/core";
import fc from "fast-check";
import {
  bitcoinErrorReason,
  branchAndBound,
  type CoinSelectionOptions,
  dataOutputScript,
  deriveKey,
  dustThreshold,
  feeFor,
  feeRate,
  feeRatePerKvb,
  MAX_STANDARD_WEIGHT,
  type SelectableCoin,
  selectCoins,
  transactionWeight,
  virtualSize,
} from "../src/index.ts";
import { throwsReason } from "./assert-reason.ts";
import { seededRandom, strangerKey, testWallet } from "./test-wallet.ts";

const wpkh = testWallet("wpkh").descriptor;
const changeScript = deriveKey(wpkh, [1, 0]).script;

function coin(index: number, amountSats: bigint): SelectableCoin {
  return { outpoint: { txid: txidSchema.parse(index.toString(16).padStart(64, "0")), vout: 0 }, amountSats };
}

function pay(amountSats: bigint) {
  return { script: strangerKey("wpkh", 0).script, amountSats };
}

function options(
  others: Partial<CoinSelectionOptions<SelectableCoin>>,
): CoinSelectionOptions<SelectableCoin> {
  return {
    kind: "wpkh",
    coins: [],
    recipients: [pay(50_000n)],
    changeScript,
    feeRate: feeRate(5),
    maxFeeSats: 1_000_000n,
    ...others,
  };
}

const select = (others: Partial<CoinSelectionOptions<SelectableCoin>>, seed = "seed") =>
  selectCoins(options(others), { random: seededRandom(seed) });

test("an exact match is found and makes no change", () => {
  // 1 input and 1 output of P2WPKH measure 110 vB (109.5 rounded up), so 550 sat at 5 sat/vB.
  const selection = select({ coins: [coin(1, 200_000n), coin(2, 50_560n), coin(3, 70_000n)] });
  assert.equal(selection.algorithm, "branch-and-bound");
  assert.deepEqual(selection.coins, [coin(2, 50_560n)]);
  assert.equal(selection.changeSats, undefined);
  assert.equal(selection.feeSats, 560n);
  assert.equal(selection.vsize, 110);
});

test("a data output weighs, costs its fee, and holds nothing", () => {
  const dataScript = dataOutputScript(new Uint8Array(38));
  const coins = [coin(1, 200_000n)];
  const [bare, anchored] = [select({ coins }), select({ coins, dataScript })];
  assert.equal(anchored.vsize - bare.vsize, 49);
  assert.equal(anchored.feeSats - bare.feeSats, 245n);
  assert.equal((anchored.changeSats ?? 0n) + anchored.feeSats, 150_000n);
  const exact = select({ coins: [coin(2, 50_560n), coin(3, 50_800n)], dataScript });
  assert.deepEqual([exact.coins, exact.changeSats, exact.feeSats], [[coin(3, 50_800n)], undefined, 800n]);
  throwsReason(() => select({ coins: [coin(2, 50_560n)], dataScript }), "insufficient-funds");
  throwsReason(() => select({ coins, dataScript, maxFeeSats: bare.feeSats }), "fee-above-maximum");
});

test("branch-and-bound finds the subset among many that needs no change", () => {
  const values = [9n, 8n, 7n, 5n, 3n, 2n].map((v) => v * 1000n);
  const picked = branchAndBound({
    values,
    target: 16_900n,
    upperBound: 17_000n,
    wastePerPick: 0n,
    accept: () => true,
    maxTries: 1000,
  });
  assert.equal(
    picked?.reduce((sum, i) => sum + (values[i] ?? 0n), 0n),
    17_000n,
  );
});

test("branch-and-bound agrees with exhaustive search on small sets", () => {
  fc.assert(
    fc.property(
      fc.array(fc.bigInt({ min: 1n, max: 60n }), { maxLength: 10 }),
      fc.bigInt({ min: 1n, max: 200n }),
      fc.bigInt({ min: 0n, max: 20n }),
      fc.bigInt({ min: -5n, max: 5n }),
      (unsorted, target, slack, wastePerPick) => {
        const values = [...unsorted].sort((a, b) => (a > b ? -1 : a < b ? 1 : 0));
        const waste = (subset: readonly number[]) => {
          const sum = subset.reduce((total, i) => total + (values[i] ?? 0n), 0n);
          return sum < target || sum > target + slack
            ? undefined
            : wastePerPick * BigInt(subset.length) + sum - target;
        };
        let least: bigint | undefined;
        for (let bits = 0; bits < 2 ** values.length; bits++) {
          const found = waste(values.flatMap((_, i) => ((bits >> i) & 1 ? [i] : [])));
          if (found !== undefined && (least === undefined || found < least)) least = found;
        }
        const picked = branchAndBound({
          values,
          target,
          upperBound: target + slack,
          wastePerPick,
          accept: () => true,
          maxTries: 1_000_000,
        });
        // A branch ends at the first sum that reaches the target, so with a reward for each pick the least waste is
        // not promised; a valid set is.
        if (wastePerPick >= 0n) assert.equal(picked && waste(picked), least);
        else assert.equal(picked === undefined, least === undefined);
      },
    ),
  );
});

test("without an exact match change goes to the change script", () => {
  const selection = select({ coins: [coin(1, 1_000_000n)] });
  assert.notEqual(selection.algorithm, "branch-and-bound");
  assert.equal(selection.changeSats, 1_000_000n - 50_000n - selection.feeSats);
  assert.equal(selection.feeSats, 705n, "141 vB at 5 sat/vB");
});

test("the same random source gives the same choice, and another one may give another", () => {
  const coins = Array.from({ length: 60 }, (_, i) => coin(i, 30_000n + BigInt(i * i)));
  assert.deepEqual(select({ coins }, "a"), select({ coins }, "a"));
  const choices = new Set(
    ["a", "b", "c", "d", "e"].map((seed) =>
      JSON.stringify(select({ coins }, seed).coins.map((c) => c.outpoint)),
    ),
  );
  assert.ok(choices.size > 1);
});

test("coins that cost more to spend than they hold stay where they are", () => {
  const dust = Array.from({ length: 50 }, (_, i) => coin(i, 340n));
  const selection = select({ coins: [...dust, coin(99, 90_000n)] });
  assert.deepEqual(
    selection.coins.map((c) => c.amountSats),
    [90_000n],
  );
});

test("required coins are spent, and suffice where they can", () => {
  const required = [coin(7, 300_000n)];
  const selection = select({ coins: [coin(1, 50_560n), ...required], required });
  assert.deepEqual(selection.coins, required);
  assert.equal(selection.changeSats, 300_000n - 50_000n - selection.feeSats);
});

test("a least absolute fee is paid, as a replacement must", () => {
  for (const amount of [50_600n, 52_100n, 400_000n]) {
    const selection = select({ coins: [coin(1, amount), coin(2, 700_000n)], minFeeSats: 2_000n });
    assert.ok(selection.feeSats >= 2_000n);
  }
});

test("what is missing is named", () => {
  assert.throws(
    () => select({ coins: [coin(1, 50_000n)] }),
    (error) => {
      assert.equal(bitcoinErrorReason(error), "insufficient-funds");
      assert.match(String(error), /sat short/);
      return true;
    },
  );
});

test("a payment that takes every coin fits to the last satoshi, and not one further", () => {
  // 2 taproot inputs and 1 P2WPKH output weigh 626, so 157 vB (156.5 rounded up): 1570 sat at 10 sat/vB.
  const sweep = (total: bigint) =>
    select({ kind: "tr", coins: [coin(1, 30_000n), coin(2, total - 30_000n)], feeRate: feeRate(10) });
  assert.equal(sweep(51_570n).feeSats, 1_570n);
  for (const total of [51_569n, 51_567n, 51_565n]) throwsReason(() => sweep(total), "insufficient-funds");
});

test("refusals: no recipients, dust, zero, duplicates, fee above the maximum", () => {
  const coins = [coin(1, 1_000_000n)];
  throwsReason(() => select({ coins, recipients: [] }), "no-recipients");
  throwsReason(() => select({ coins, recipients: [pay(293n)] }), "output-dust");
  throwsReason(() => select({ coins, recipients: [pay(0n)] }), "output-amount");
  throwsReason(() => select({ coins: [coin(1, 5n), coin(1, 5n)] }), "duplicate-coin");
  throwsReason(() => select({ coins, maxFeeSats: 100n }), "fee-above-maximum");
});

test("a payment that takes more coins than nodes relay in one transaction is refused", () => {
  const coins = Array.from({ length: 2_000 }, (_, i) => coin(i, 10_000n));
  throwsReason(
    () => select({ coins, recipients: [pay(18_000_000n)], maxFeeSats: 10n ** 9n }),
    "transaction-too-big",
  );
});

test("ten thousand coins are searched within bounds", () => {
  const coins = Array.from({ length: 10_000 }, (_, i) => coin(i, 100_000n + BigInt((i * 7919) % 9973)));
  const started = performance.now();
  const selection = select({ coins, recipients: [pay(3_333_333n)] });
  assert.ok(selection.coins.length > 0);
  assert.ok(performance.now() - started < 20_000);
});

test("inputs are worth recipients, fee and change exactly; the fee pays the rate; nothing is dust", () => {
  const amounts = fc.bigInt({ min: 300n, max: 5_000_000n });
  fc.assert(
    fc.property(
      fc.constantFrom("wpkh" as const, "tr" as const),
      fc.array(amounts, { maxLength: 40 }),
      fc.nat(3),
      fc.array(fc.bigInt({ min: 546n, max: 3_000_000n }), { minLength: 1, maxLength: 5 }),
      fc.bigInt({ min: 0n, max: 300_000n }),
      fc.bigInt({ min: 0n, max: 20_000n }),
      fc.string(),
      (kind, coinAmounts, requiredCount, payments, perKvb, minFeeSats, seed) => {
        const coins = coinAmounts.map((amount, i) => coin(i, amount));
        const given: CoinSelectionOptions<SelectableCoin> = {
          kind,
          coins,
          required: coins.slice(0, requiredCount),
          recipients: payments.map(pay),
          changeScript: deriveKey(testWallet(kind).descriptor, [1, 0]).script,
          feeRate: feeRatePerKvb(perKvb),
          minFeeSats,
          maxFeeSats: 50_000n,
        };
        let selection: ReturnType<typeof selectCoins<SelectableCoin>>;
        try {
          selection = selectCoins(given, { random: seededRandom(seed) });
        } catch (error) {
          assert.ok(
            ["insufficient-funds", "fee-above-maximum"].includes(bitcoinErrorReason(error) ?? ""),
            String(error),
          );
          return;
        }
        const total = (list: readonly bigint[]) => list.reduce((a, b) => a + b, 0n);
        const spent = total(selection.coins.map((c) => c.amountSats));
        assert.equal(spent, total(payments) + selection.feeSats + (selection.changeSats ?? 0n));
        const scripts = given.recipients.map((output) => output.script);
        if (selection.changeSats !== undefined) {
          scripts.push(given.changeScript);
          assert.ok(selection.changeSats >= dustThreshold(given.changeScript));
        }
        const weight = transactionWeight(kind, selection.coins.length, scripts);
        assert.equal(selection.vsize, virtualSize(weight));
        assert.ok(weight <= MAX_STANDARD_WEIGHT);
        assert.ok(selection.feeSats >= feeFor(selection.vsize, given.feeRate));
        assert.ok(selection.feeSats >= minFeeSats && selection.feeSats <= given.maxFeeSats);
        const ids = selection.coins.map((c) => c.outpoint.txid);
        assert.equal(new Set(ids).size, ids.length);
        for (const required of given.required ?? []) assert.ok(selection.coins.includes(required));
      },
    ),
    { numRuns: 300 },
  );
});
