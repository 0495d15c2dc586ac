import { type Clock, isCairnError, type Outpoint, outpointText, type Txid, type UnixMs } from "@cairn/core";
import { bitcoinError, bitcoinErrorReason } from "./bitcoin-error.ts";
import type {
  ChainSource,
  ChainTip,
  ChainUtxo,
  FeeEstimate,
  OutspendStatus,
  ScriptActivity,
  TransactionStatus,
} from "./chain-source.ts";
import type { Inclusion } from "./inclusion.ts";

export interface AgreeingChainSourceOptions {
  /** In order of preference where one answer is enough. At least one. */
  readonly sources: readonly ChainSource[];
  /** How long a source that failed is left alone, in ms. 30,000 by default. */
  readonly coolDownMs?: number;
}

/** Blocks by which sources may differ while a new one spreads. */
const TIP_SPREAD = 3;

interface Member {
  readonly source: ChainSource;
  /** Monotonic time before which it is asked only if no other is left. */
  coolUntil: number;
}

/**
 * Several chain sources as one. A source that fails or answers nonsense is left alone for a while, and the others go on;
 * when all are cooling down, all are tried.
 *
 * Among k sources that answer, a majority is ⌊k/2⌋ + 1. With 2f + 1 sources, f liars decide nothing but delays.
 *
 * | question | answer |
 * |---|---|
 * | tip | the highest block that a majority has reached |
 * | hash at a height | a majority's; no majority is an error, to be asked again |
 * | script | used if any says so (an address is never offered twice); a coin exists if a majority lists it; nothing waits if a majority counts the same transactions |
 * | output | spent if any says so; unspent only if none says otherwise |
 * | transaction | confirmed if a majority agrees on the block; waiting if any knows it |
 * | raw transaction | of the first that has it: its hash proves it |
 * | block of a transaction | the one that a majority names, with the proof of the first that has it |
 * | fee estimates | the lower median for each target |
 * | broadcast | to all; one acceptance is enough |
 */
export class AgreeingChainSource implements ChainSource {
  readonly #members: readonly Member[];
  readonly #coolDownMs: number;
  readonly #clock: Clock;
  /** Since when a source has told of another chain than a majority, by what it was asked. */
  readonly #dissent = new Map<ChainSource, Map<"tip" | "block", UnixMs>>();

  /** @throws RangeError without sources */
  constructor(options: AgreeingChainSourceOptions, modules: { readonly clock: Clock }) {
    if (options.sources.length === 0) throw new RangeError("at least one chain source is needed");
    this.#members = options.sources.map((source) => ({ source, coolUntil: Number.NEGATIVE_INFINITY }));
    this.#coolDownMs = options.coolDownMs ?? 30_000;
    this.#clock = modules.clock;
  }

  /** How many sources are not cooling down, of how many. */
  health(): { readonly healthy: number; readonly total: number } {
    const now = this.#clock.monotonic();
    return {
      healthy: this.#members.filter((member) => member.coolUntil <= now).length,
      total: this.#members.length,
    };
  }

  /** Sources, counted from 1, whose last answer on the chain contradicted the majority's, and since when they do. */
  dissenting(): readonly { readonly source: number; readonly since: UnixMs }[] {
    return this.#members.flatMap(({ source }, at) => {
      const since = [...(this.#dissent.get(source)?.values() ?? [])];
      return since.length === 0 ? [] : [{ source: at + 1, since: Math.min(...since) as UnixMs }];
    });
  }

  async tip(): Promise<ChainTip> {
    const tips = new Map<ChainSource, ChainTip>();
    const answers = await this.#askAll(async (source) => {
      const tip = await source.tip();
      tips.set(source, tip);
      return tip;
    });
    const sorted = answers.sort((a, b) => b.height - a.height);
    const agreed = demand(sorted[majority(sorted.length) - 1]);
    for (const [source, { height }] of tips)
      this.#compare(source, "tip", Math.abs(height - agreed.height) <= TIP_SPREAD);
    return agreed;
  }

  async blockHash(height: number): Promise<string | undefined> {
    const told = new Map<ChainSource, string | undefined>();
    const hashes = await this.#askAll(async (source) => {
      const hash = await source.blockHash(height);
      told.set(source, hash);
      return hash;
    });
    const agreed = hashes.find((hash) => count(hashes, (other) => other === hash) >= majority(hashes.length));
    // One that has not reached the height yet contradicts nobody.
    for (const [source, hash] of told)
      if (hash !== undefined) this.#compare(source, "block", hash === agreed);
    if (agreed === undefined && count(hashes, (hash) => hash === undefined) < majority(hashes.length)) {
      throw bitcoinError(
        "chain-sources-disagree",
        "The chain sources name different blocks at this height; the chain may be reorganising. Try again soon.",
        { height },
      );
    }
    return agreed;
  }

  async scriptActivity(script: Uint8Array): Promise<ScriptActivity> {
    const answers = await this.#askAll((source) => source.scriptActivity(script));
    const needed = majority(answers.length);
    const votes = new Map<string, ChainUtxo[]>();
    for (const { utxos } of answers) {
      // One vote a source, however often it lists a coin.
      for (const utxo of new Map(utxos.map((entry) => [outpointText(entry.outpoint), entry])).values()) {
        const text = outpointText(utxo.outpoint);
        votes.set(text, [...(votes.get(text) ?? []), utxo]);
      }
    }
    const utxos = [...votes.values()]
      .filter((listed) => listed.length >= needed)
      .map((listed): ChainUtxo => {
        const first = demand(listed[0]);
        const status = agreedStatus(
          listed.map((utxo) => utxo.status),
          needed,
        );
        // The lowest claim: amounts that count come from the previous transaction anyway.
        const amountSats = listed.reduce(
          (low, utxo) => (utxo.amountSats < low ? utxo.amountSats : low),
          first.amountSats,
        );
        return { outpoint: first.outpoint, amountSats, status };
      });
    const settled = answers
      .map((answer) => answer.settled)
      .find((value, _, all) => value !== undefined && count(all, (other) => other === value) >= needed);
    return {
      used: answers.some((answer) => answer.used),
      utxos,
      ...(settled === undefined ? {} : { settled }),
    };
  }

  async transactionStatus(txid: Txid): Promise<TransactionStatus> {
    const answers = await this.#askAll((source) => source.transactionStatus(txid));
    const seen = answers.flatMap((status) => (status.state === "unknown" ? [] : [status]));
    return seen.length === 0 ? { state: "unknown" } : agreedStatus(seen, majority(answers.length));
  }

  async outspend(outpoint: Outpoint): Promise<OutspendStatus> {
    const answers = await this.#askAll((source) => source.outspend(outpoint));
    const spent = answers.flatMap((answer) => (answer.spent ? [answer] : []));
    return spent.find((answer) => answer.status.state === "confirmed") ?? spent[0] ?? { spent: false };
  }

  async rawTransaction(txid: Txid): Promise<Uint8Array> {
    return this.#askInTurn((source) => source.rawTransaction(txid));
  }

  async inclusion(txid: Txid): Promise<Inclusion | undefined> {
    const status = await this.transactionStatus(txid);
    if (status.state !== "confirmed") return undefined;
    return this.#askInTurn(async (source) => {
      const found = await source.inclusion(txid);
      if (found !== undefined && found.blockHash === status.blockHash) return found;
      throw bitcoinError(
        "chain-not-found",
        "A source does not have the transaction in the block that most name.",
        {
          txid,
        },
      );
    });
  }

  async feeEstimates(): Promise<readonly FeeEstimate[]> {
    const answers = await this.#askAll((source) => source.feeEstimates());
    const byTarget = new Map<number, FeeEstimate[]>();
    for (const estimate of answers.flat()) {
      byTarget.set(estimate.targetBlocks, [...(byTarget.get(estimate.targetBlocks) ?? []), estimate]);
    }
    return [...byTarget.values()]
      .map((estimates) => {
        const sorted = estimates.sort((a, b) => (a.rate < b.rate ? -1 : a.rate > b.rate ? 1 : 0));
        return demand(sorted[Math.floor((sorted.length - 1) / 2)]);
      })
      .sort((a, b) => a.targetBlocks - b.targetBlocks);
  }

  async broadcast(raw: Uint8Array): Promise<Txid> {
    // To cooling sources too: a transaction that spreads late is worse than a request that fails. The first acceptance
    // answers; the other requests go on.
    try {
      return await Promise.any(
        this.#members.map((member) => this.#ask(member, (source) => source.broadcast(raw))),
      );
    } catch (failure) {
      if (!(failure instanceof AggregateError)) throw failure;
      const failures: readonly unknown[] = failure.errors;
      throw failures.find((each) => bitcoinErrorReason(each) === "chain-rejected") ?? failures[0];
    }
  }

  #compare(source: ChainSource, about: "tip" | "block", agrees: boolean): void {
    const since = this.#dissent.get(source) ?? new Map<"tip" | "block", UnixMs>();
    this.#dissent.set(source, since);
    if (agrees) since.delete(about);
    else if (!since.has(about)) since.set(about, this.#clock.now());
  }

  #candidates(): readonly Member[] {
    const now = this.#clock.monotonic();
    const healthy = this.#members.filter((member) => member.coolUntil <= now);
    return healthy.length > 0 ? healthy : this.#members;
  }

  /** Answers of all healthy sources that give one; the first failure when none does. */
  async #askAll<T>(question: (source: ChainSource) => Promise<T>): Promise<T[]> {
    const asked = this.#candidates();
    let outcomes = await Promise.allSettled(asked.map((member) => this.#ask(member, question)));
    const failed = (outcome: PromiseSettledResult<T>) =>
      outcome.status === "rejected" && isFault(outcome.reason);
    if (outcomes.every(failed) && asked.length < this.#members.length) {
      // The healthy ones just failed: those that cool down are all there is left.
      const rest = this.#members.filter((member) => !asked.includes(member));
      outcomes = [
        ...outcomes,
        ...(await Promise.allSettled(rest.map((member) => this.#ask(member, question)))),
      ];
    }
    const answers = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    if (answers.length > 0) return answers;
    const failures = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    // "Not found" by a source that works says more than "unreachable".
    throw failures.find((failure) => !isFault(failure)) ?? failures[0];
  }

  /** The first answer, asking healthy sources first and the cooling ones after them. */
  async #askInTurn<T>(question: (source: ChainSource) => Promise<T>): Promise<T> {
    const first = this.#candidates();
    const order = [...first, ...this.#members.filter((member) => !first.includes(member))];
    const failures: unknown[] = [];
    for (const member of order) {
      try {
        return await this.#ask(member, question);
      } catch (failure) {
        if (!isCairnError(failure)) throw failure;
        failures.push(failure);
      }
    }
    throw failures.find((failure) => !isFault(failure)) ?? failures[0];
  }

  async #ask<T>(member: Member, question: (source: ChainSource) => Promise<T>): Promise<T> {
    try {
      const answer = await question(member.source);
      member.coolUntil = Number.NEGATIVE_INFINITY;
      return answer;
    } catch (failure) {
      if (isFault(failure)) member.coolUntil = this.#clock.monotonic() + this.#coolDownMs;
      throw failure;
    }
  }
}

/** Whether a failure is the source's own, rather than an answer. */
function isFault(failure: unknown): boolean {
  return isCairnError(failure, "chain-unavailable") || isCairnError(failure, "chain-answer-invalid");
}

function majority(answers: number): number {
  return Math.floor(answers / 2) + 1;
}

function count<T>(items: readonly T[], matches: (item: T) => boolean): number {
  return items.filter(matches).length;
}

function agreedStatus(
  seen: readonly Exclude<TransactionStatus, { state: "unknown" }>[],
  needed: number,
): Exclude<TransactionStatus, { state: "unknown" }> {
  for (const status of seen) {
    if (status.state !== "confirmed") continue;
    const same = count(
      seen,
      (other) =>
        other.state === "confirmed" &&
        other.blockHash === status.blockHash &&
        other.blockHeight === status.blockHeight,
    );
    if (same >= needed) return status;
  }
  return { state: "mempool" };
}

function demand<T>(value: T | undefined): T {
  if (value === undefined) throw new RangeError("no answer to choose from");
  return value;
}
