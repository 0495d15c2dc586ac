import { type Outpoint, outpointText, type Random } from "@cairn/core";
import { bitcoinError } from "./bitcoin-error.ts";
import { branchAndBound } from "./branch-and-bound.ts";
import { checkRecipients } from "./check-recipient.ts";
import type { DescriptorKind } from "./descriptor.ts";
import { dustThreshold } from "./dust.ts";
import { type FeeRate, feeFor, feeRatePerKvb } from "./fee-rate.ts";
import type { TransactionOutput } from "./transaction.ts";
import {
  inputWeight,
  outputWeight,
  overheadWeight,
  transactionWeight,
  virtualSize,
} from "./transaction-size.ts";

/** A coin that selection can choose. */
export interface SelectableCoin {
  readonly outpoint: Outpoint;
  readonly amountSats: bigint;
}

export interface CoinSelectionOptions<Coin extends SelectableCoin> {
  readonly kind: DescriptorKind;
  readonly coins: readonly Coin[];
  /** Coins that must be spent whatever they cost: those of the transaction to replace, or of the parent to speed up. */
  readonly required?: readonly Coin[];
  readonly recipients: readonly TransactionOutput[];
  /** Script of an output beside the recipients that holds no amount, and so only weighs: an anchor. None by default. */
  readonly dataScript?: Uint8Array;
  /** Script of the next change address. */
  readonly changeScript: Uint8Array;
  readonly feeRate: FeeRate;
  /** What spending a coin will cost some quieter day; 10 sat/vB by default, as in Bitcoin Core. */
  readonly longTermFeeRate?: FeeRate;
  /** Least absolute fee: a replacement must pay more than what it replaces (BIP-125 rules 3 and 4). 0 by default. */
  readonly minFeeSats?: bigint;
  readonly maxFeeSats: bigint;
}

export type CoinSelectionAlgorithm = "branch-and-bound" | "single-random-draw" | "largest-first";

export interface CoinSelection<Coin extends SelectableCoin> {
  /** Chosen coins, required ones among them, ascending by outpoint. */
  readonly coins: readonly Coin[];
  /** `undefined` where no change is made. */
  readonly changeSats: bigint | undefined;
  readonly feeSats: bigint;
  /** Most that the signed transaction can measure, in virtual bytes. */
  readonly vsize: number;
  readonly algorithm: CoinSelectionAlgorithm;
}

/** Bitcoin Core relays no transaction above this weight (MAX_STANDARD_TX_WEIGHT). */
export const MAX_STANDARD_WEIGHT = 400_000;

/** Least change that a random draw aims for (Bitcoin Core's CHANGE_LOWER): small change is costly and tells. */
const changeAim = 50_000n;
const maxTries = 100_000;
/**
 * Sums are kept in 1/4000 satoshi: a rate in sat/kvB times a weight in quarter bytes is then a whole number, and nothing
 * rounds before the end.
 */
const unit = 4000n;

/**
 * Chooses coins for a payment. First branch-and-bound, for a set that needs no change; failing that, the less wasteful of
 * a single random draw and largest-first. Coins that cost more to spend than they hold are left alone.
 *
 * Inputs = recipients + fee + change holds exactly; fee ≥ rate × vsize, and ≤ `maxFeeSats`; change is never dust, and is
 * left to the miners only where it would cost more to make and spend than it holds. The same random source gives the same
 * choice.
 *
 * @throws CairnError with reason `no-recipients`, `output-dust`, `output-amount`, `duplicate-coin`,
 * `insufficient-funds` (data: `availableSats`, `neededSats`), `fee-above-maximum`, `transaction-too-big`
 */
export function selectCoins<Coin extends SelectableCoin>(
  options: CoinSelectionOptions<Coin>,
  modules: { readonly random: Random },
): CoinSelection<Coin> {
  return new Selector(options).select(modules.random);
}

interface Candidate<Coin> {
  readonly coin: Coin;
  /** Amount less the cost of spending it, in 1/4000 sat. */
  readonly value: bigint;
}

interface Settled<Coin extends SelectableCoin> extends CoinSelection<Coin> {
  readonly waste: bigint;
}

class Selector<Coin extends SelectableCoin> {
  readonly #options: CoinSelectionOptions<Coin>;
  readonly #required: readonly Coin[];
  readonly #pool: readonly Candidate<Coin>[];
  readonly #paid: bigint;
  readonly #minFee: bigint;
  readonly #longTerm: FeeRate;
  /** What the pool must add to the required coins, in 1/4000 sat, after the cost of each input. */
  readonly #target: bigint;
  /** What making change and spending it some day costs, in 1/4000 sat. */
  readonly #costOfChange: bigint;

  constructor(options: CoinSelectionOptions<Coin>) {
    checkRecipients(options.recipients);
    this.#options = options;
    this.#required = options.required ?? [];
    const taken = new Set(this.#required.map((coin) => outpointText(coin.outpoint)));
    if (taken.size !== this.#required.length) throw duplicateCoin();
    const free = options.coins.filter((coin) => !taken.has(outpointText(coin.outpoint)));
    if (new Set(free.map((coin) => outpointText(coin.outpoint))).size !== free.length) throw duplicateCoin();

    const { feeRate, kind, recipients, changeScript } = options;
    this.#longTerm = options.longTermFeeRate ?? feeRatePerKvb(10_000n);
    this.#minFee = options.minFeeSats ?? 0n;
    this.#paid = recipients.reduce((sum, output) => sum + output.amountSats, 0n);
    this.#pool = free
      .map((coin) => ({ coin, value: this.#effective(coin) }))
      .filter(({ value }) => value > 0n)
      .sort((a, b) => compare(b.value, a.value) || compareCoins(a.coin, b.coin));

    const scripts = this.#scripts();
    const outputs = scripts.reduce((sum, script) => sum + outputWeight(script.length), 0);
    const fixed = overheadWeight(this.#required.length + this.#pool.length, scripts.length + 1) + outputs;
    // Weight rounds up to whole bytes (3 units at most) and the fee to whole satoshi.
    const rounding = feeRate * 3n + unit;
    const requiredValue = this.#required.reduce((sum, coin) => sum + this.#effective(coin), 0n);
    this.#target = this.#paid * unit + feeRate * BigInt(fixed) + rounding - requiredValue;
    this.#costOfChange =
      feeRate * BigInt(outputWeight(changeScript.length)) + this.#longTerm * BigInt(inputWeight(kind));
  }

  select(random: Random): CoinSelection<Coin> {
    const found: Settled<Coin>[] = [];
    const exact = this.#branchAndBound();
    if (exact !== undefined) this.#settle(exact, "branch-and-bound", found);
    if (found.length === 0) {
      const drawn = this.#singleRandomDraw(random);
      if (drawn !== undefined) this.#settle(drawn, "single-random-draw", found);
      const largest = this.#largestFirst();
      // The target leaves room for rounding; a payment that takes every last coin may just fit without that room.
      this.#settle(largest ?? this.#pool.map(({ coin }) => coin), "largest-first", found);
      if (largest === undefined && found.length === 0) throw this.#insufficient();
    }
    const [first, second] = found;
    if (first === undefined) {
      throw bitcoinError(
        "transaction-too-big",
        "Paying this takes more coins than one transaction may hold. Pay less at a time, or consolidate small coins first.",
        { limit: MAX_STANDARD_WEIGHT },
      );
    }
    const { maxFeeSats } = this.#options;
    const affordable = found.filter(({ feeSats }) => feeSats <= maxFeeSats);
    const [one, other] = affordable;
    if (one === undefined) {
      const least = second !== undefined && second.feeSats < first.feeSats ? second.feeSats : first.feeSats;
      throw bitcoinError(
        "fee-above-maximum",
        `At this fee rate miners get ${least} sat, and the request allows ${maxFeeSats}. Raise the maximum fee (--max-fee), or lower the rate (--fee-rate).`,
        { feeSats: least.toString(), maxFeeSats: maxFeeSats.toString() },
      );
    }
    const { waste: _waste, ...selection } = other !== undefined && other.waste < one.waste ? other : one;
    return selection;
  }

  #effective(coin: Coin): bigint {
    return coin.amountSats * unit - this.#options.feeRate * BigInt(inputWeight(this.#options.kind));
  }

  /** Whether the coins cover the recipients and the absolute least fee; their effective values cover the rate. */
  #coversLeast(coins: readonly Coin[]): boolean {
    return total(this.#required) + total(coins) >= this.#paid + this.#minFee;
  }

  #branchAndBound(): readonly Coin[] | undefined {
    if (this.#target <= 0n) {
      // The required coins suffice by themselves; without change only where change would cost more than the excess.
      return -this.#target <= this.#costOfChange && this.#coversLeast([]) ? [] : undefined;
    }
    const { feeRate, kind } = this.#options;
    const values = this.#pool.map(({ value }) => value);
    const coinsAt = (picked: readonly number[]) => picked.flatMap((i) => this.#pool[i]?.coin ?? []);
    const picked = branchAndBound({
      values,
      target: this.#target,
      upperBound: this.#target + this.#costOfChange,
      wastePerPick: (feeRate - this.#longTerm) * BigInt(inputWeight(kind)),
      accept: (positions) => this.#coversLeast(coinsAt(positions)),
      maxTries,
    });
    return picked && coinsAt(picked);
  }

  #singleRandomDraw(random: Random): readonly Coin[] | undefined {
    const goal = this.#target + this.#costOfChange + changeAim * unit;
    return this.#accumulate(shuffled(this.#pool, random), goal);
  }

  #largestFirst(): readonly Coin[] | undefined {
    return this.#accumulate(this.#pool, this.#target);
  }

  #accumulate(candidates: Iterable<Candidate<Coin>>, goal: bigint): readonly Coin[] | undefined {
    const picked: Coin[] = [];
    let sum = 0n;
    let amount = total(this.#required);
    const least = this.#paid + this.#minFee;
    const enough = () => sum >= goal && amount >= least && picked.length + this.#required.length > 0;
    if (enough()) return picked;
    for (const { coin, value } of candidates) {
      picked.push(coin);
      sum += value;
      amount += coin.amountSats;
      if (enough()) return picked;
    }
    return undefined;
  }

  /** Works out change and fee of a set and keeps it, unless no node would relay it. */
  #settle(picked: readonly Coin[], algorithm: CoinSelectionAlgorithm, into: Settled<Coin>[]): void {
    const { kind, changeScript, feeRate, maxFeeSats } = this.#options;
    const coins = [...this.#required, ...picked].sort(compareCoins);
    const excess = total(coins) - this.#paid;
    const scripts = this.#scripts();
    const measure = (outputs: readonly Uint8Array[]) => {
      const weight = transactionWeight(kind, coins.length, outputs);
      const vsize = virtualSize(weight);
      const byRate = feeFor(vsize, feeRate);
      return { weight, vsize, fee: byRate > this.#minFee ? byRate : this.#minFee };
    };
    const without = measure(scripts);
    const withChange = measure([...scripts, changeScript]);
    const changeSats = excess - withChange.fee;
    const worthIt =
      changeSats * unit >= this.#longTerm * BigInt(inputWeight(kind)) && algorithm !== "branch-and-bound";
    const makeChange = changeSats >= dustThreshold(changeScript) && (worthIt || excess > maxFeeSats);
    if (!makeChange && excess < without.fee) return;
    const size = makeChange ? withChange : without;
    if (size.weight > MAX_STANDARD_WEIGHT) return;
    const inputWaste = (feeRate - this.#longTerm) * BigInt(inputWeight(kind) * coins.length);
    into.push({
      coins,
      changeSats: makeChange ? changeSats : undefined,
      feeSats: makeChange ? withChange.fee : excess,
      vsize: size.vsize,
      algorithm,
      waste: inputWaste + (makeChange ? this.#costOfChange : (excess - without.fee) * unit),
    });
  }

  /** Scripts of all outputs but change. */
  #scripts(): readonly Uint8Array[] {
    const { recipients, dataScript } = this.#options;
    return [...recipients.map((output) => output.script), ...(dataScript === undefined ? [] : [dataScript])];
  }

  #insufficient(): Error {
    const available = total(this.#required) + this.#pool.reduce((sum, { coin }) => sum + coin.amountSats, 0n);
    const poolValue = this.#pool.reduce((sum, { value }) => sum + value, 0n);
    const shortByRate = this.#target > poolValue ? (this.#target - poolValue + unit - 1n) / unit : 0n;
    const least = this.#paid + this.#minFee;
    const shortByFee = least > available ? least - available : 0n;
    const missing = shortByRate > shortByFee ? shortByRate : shortByFee;
    return bitcoinError(
      "insufficient-funds",
      `The spendable coins are ${missing} sat short of the payment and its fee. Pay less, lower the fee rate, or wait for deposits to confirm.`,
      { availableSats: available.toString(), neededSats: (available + missing).toString() },
    );
  }
}

function duplicateCoin(): Error {
  return bitcoinError("duplicate-coin", "The same coin is listed twice. Scan the wallet again.");
}

function total(coins: readonly SelectableCoin[]): bigint {
  return coins.reduce((sum, coin) => sum + coin.amountSats, 0n);
}

function compare(a: bigint | string, b: bigint | string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function compareCoins(a: SelectableCoin, b: SelectableCoin): number {
  return compare(a.outpoint.txid, b.outpoint.txid) || a.outpoint.vout - b.outpoint.vout;
}

/** Fisher–Yates, lazily: only as many draws as are consumed. */
function* shuffled<T>(items: readonly T[], random: Random): Generator<T> {
  const rest = [...items];
  while (rest.length > 0) {
    const at = randomBelow(rest.length, random);
    const chosen = rest[at];
    const last = rest.pop();
    if (chosen === undefined || last === undefined) return;
    if (at < rest.length) rest[at] = last;
    yield chosen;
  }
}

/** An even draw from 0 … bound − 1, bound ≤ 2³². Values past the last whole multiple of the bound are drawn again. */
function randomBelow(bound: number, random: Random): number {
  const limit = 2 ** 32 - (2 ** 32 % bound);
  for (;;) {
    const bytes = random.bytes(4);
    const value = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, false);
    if (value < limit) return value % bound;
  }
}
