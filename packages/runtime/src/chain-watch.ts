import type { ChainSource } from "@cairn/bitcoin";
import {
  CairnError,
  type Clock,
  fromHex,
  type IntentHash,
  isCairnError,
  type NodeIndex,
  type Timer,
} from "@cairn/core";
import type { LiveSpend } from "./live-spends.ts";
import type { Loop } from "./loop.ts";
import type { SpendDesk } from "./spend-desk.ts";
import { readMetadata } from "./spend-metadata.ts";
import { SETTLED_DEPTH } from "./stored-spends.ts";

export interface ChainWatchOptions {
  readonly me: NodeIndex;
  /** Time between two looks at the chain: 30 s where people pay. */
  readonly pollMs: number;
}

export interface ChainWatchModules {
  readonly loop: Loop;
  readonly chain: ChainSource;
  readonly clock: Clock;
  readonly spends: SpendDesk;
  /** The chain moved: wallets may have changed. */
  readonly moved: () => void;
  readonly report: (cause: unknown) => void;
}

/** Least time between two looks at one spend that people ask for. */
const REFRESH_MS = 5_000;
/** Looks that people ask for and that wait for their turn. */
const MAX_REFRESHES = 64;

/** A look that somebody asked for: those who ask before `until`, by the monotonic clock, share it. */
interface Refresh {
  readonly look: Promise<void>;
  readonly until: number;
}

/** Publishes signed transactions and follows them into the chain, reorganisations included. */
export class ChainWatch {
  readonly #options: ChainWatchOptions;
  readonly #modules: ChainWatchModules;
  #timer: Timer | null = null;
  #looking: Promise<void> | null = null;
  readonly #refreshes = new Map<IntentHash, Refresh>();
  /** Looks take turns: what one finds is stored before the next begins. */
  #turn: Promise<unknown> = Promise.resolve();
  #tip: { readonly height: number; readonly hash: string } | null = null;
  #closed = false;

  constructor(options: ChainWatchOptions, modules: ChainWatchModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** Height of the best block at the last look, or null before the first that succeeded. */
  get tipHeight(): number | null {
    return this.#tip?.height ?? null;
  }

  start(): void {
    this.#schedule(0);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#turn;
  }

  /** Publishes a transaction now; whoever made it does so first, the others where it is missing at their next look. */
  publish(hash: IntentHash): void {
    const live = this.#modules.spends.get(hash);
    if (live === undefined) return;
    const mine = readMetadata(live.row.metadata).signers.includes(this.#options.me);
    if (mine) this.#broadcast(live).catch(this.#modules.report);
  }

  /** Looks at the chain now, and again every `pollMs` from here. Looks that overlap are one. */
  look(): Promise<void> {
    this.#looking ??= this.#inTurn(() => this.#look()).finally(() => {
      this.#looking = null;
      this.#schedule(this.#options.pollMs);
    });
    return this.#looking;
  }

  /**
   * Looks at one spend now, because somebody asks. Those who ask at once, or a moment later, share one look, and one look is made at a
   * time, so that callers cannot hammer the chain source. One that is settled, or unknown, needs none but at the chain's height.
   * @throws CairnError `chain-unavailable`, `chain-answer-invalid`, `busy`
   */
  refresh(hash: IntentHash): Promise<void> {
    const now = this.#modules.clock.monotonic();
    for (const [each, { until }] of this.#refreshes) if (until <= now) this.#refreshes.delete(each);
    const known = this.#refreshes.get(hash);
    if (known !== undefined) return known.look;
    const waiting = [...this.#refreshes.values()].filter(({ until }) => until === Number.POSITIVE_INFINITY);
    if (this.#closed || waiting.length >= MAX_REFRESHES) {
      return Promise.reject(
        new CairnError("busy", "too many looks at the chain are asked for; the node looks by itself as well"),
      );
    }
    const look = this.#inTurn(() => this.#lookAt(hash));
    this.#refreshes.set(hash, { look, until: Number.POSITIVE_INFINITY });
    const end = (): void => {
      const distance = Math.min(REFRESH_MS, this.#options.pollMs);
      this.#refreshes.set(hash, { look, until: this.#modules.clock.monotonic() + distance });
    };
    look.then(end, end);
    return look;
  }

  #inTurn(look: () => Promise<void>): Promise<void> {
    const made = this.#turn.then(look);
    this.#turn = made.catch(() => {});
    return made;
  }

  async #lookAt(hash: IntentHash): Promise<void> {
    const { height } = await this.#readTip();
    const live = this.#modules.spends.get(hash);
    if (live !== undefined) await this.#lookFor(live, height);
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return;
    this.#timer?.cancel();
    this.#timer = this.#modules.clock.after(delayMs, () => {
      this.look().catch(this.#modules.report);
    });
  }

  async #look(): Promise<void> {
    let height: number;
    try {
      ({ height } = await this.#readTip());
    } catch (error) {
      if (!isCairnError(error)) throw error;
      return this.#modules.report(error);
    }
    for (const live of this.#modules.spends.all()) {
      // One that was settled may have ended others of its lineage.
      if (this.#modules.spends.get(live.row.intent) === undefined) continue;
      try {
        await this.#lookFor(live, height);
      } catch (error) {
        if (!isCairnError(error)) throw error;
        this.#modules.report(error);
      }
    }
  }

  async #readTip(): Promise<{ readonly height: number }> {
    const tip = await this.#modules.chain.tip();
    if (this.#tip?.hash !== tip.hash) this.#modules.moved();
    this.#tip = tip;
    return tip;
  }

  async #lookFor(live: LiveSpend, tip: number): Promise<void> {
    if (live.row.signedTx !== null) await this.#follow(live, tip);
    else await this.#watchForConflict(live, tip);
  }

  async #follow(live: LiveSpend, tip: number): Promise<void> {
    const { chain, loop, spends, clock } = this.#modules;
    const { intent: hash, txid, createdAt } = live.row;
    const status = await chain.transactionStatus(txid);
    if (status.state !== "confirmed") {
      if (live.row.state === "confirmed") {
        await loop.run((batch) => {
          batch.audit("reorganised-out", hash, { txid });
          spends.update(batch, hash, {
            state: "broadcasting",
            confirmations: 0,
            confirmedAt: null,
            blockHeight: null,
            blockHash: null,
          });
          spends.unconfirmed(batch, hash);
        });
      }
      if (status.state === "unknown") await this.#broadcast(live);
      return this.#watchForConflict(live, tip);
    }
    const confirmations = Math.max(1, tip - status.blockHeight + 1);
    const { blockHeight, blockHash } = status;
    if (live.row.confirmations === confirmations && live.row.blockHash === blockHash) return;
    await loop.run((batch) => {
      if (spends.get(hash) === undefined) return;
      const now = clock.now();
      const first = live.row.confirmedAt === null;
      if (first) batch.audit("transaction-confirmed", hash, { txid, blockHeight });
      spends.update(
        batch,
        hash,
        {
          state: "confirmed",
          confirmations,
          blockHeight,
          blockHash,
          confirmedAt: live.row.confirmedAt ?? now,
        },
        (metadata) =>
          first ? { ...metadata, timings: { ...metadata.timings, confirmed: now - createdAt } } : metadata,
      );
      spends.confirmed(batch, hash);
      if (confirmations >= SETTLED_DEPTH) spends.settle(batch, hash);
    });
  }

  async #broadcast(live: LiveSpend): Promise<void> {
    const { chain, loop, spends, clock } = this.#modules;
    const { intent: hash, signedTx, txid, createdAt } = live.row;
    if (signedTx === null) return;
    try {
      await chain.broadcast(fromHex(signedTx));
    } catch (error) {
      if (!isCairnError(error)) throw error;
      await loop.run((batch) => {
        if (spends.get(hash) !== undefined) spends.update(batch, hash, { reason: error.code });
        batch.audit("broadcast-failed", hash, { txid, code: error.code });
      });
      return this.#modules.report(error);
    }
    await loop.run((batch) => {
      const current = spends.get(hash);
      if (current === undefined || current.row.state === "confirmed") return;
      batch.audit("broadcast", hash, { txid });
      spends.update(batch, hash, { state: "broadcasting", reason: null }, (metadata) => ({
        ...metadata,
        timings: { broadcast: clock.now() - createdAt, ...metadata.timings },
      }));
    });
  }

  /** Whether the chain holds it already, or another transaction took one of its coins, and how deep that one is. */
  async #watchForConflict(live: LiveSpend, tip: number): Promise<void> {
    const { chain, loop, spends } = this.#modules;
    const { intent: hash, outpoints, txid } = live.row;
    const spentBy = await Promise.all(outpoints.map((outpoint) => chain.outspend(outpoint)));
    // Two requests may give the same unsigned transaction: what is on the chain pays the one that a quorum approved.
    const approved = live.row.certificate !== null && live.row.signedTx === null;
    if (approved && spentBy.some((spend) => spend.spent && spend.by === txid)) {
      return spends.signatures.met(hash, await chain.rawTransaction(txid));
    }
    let depth = 0;
    for (const spend of spentBy) {
      if (!spend.spent || spend.by === undefined || spend.by === txid || spend.status.state !== "confirmed")
        continue;
      depth = Math.max(depth, tip - spend.status.blockHeight + 1);
    }
    if (depth === live.voting.tally.conflictDepth) return;
    await loop.run((batch) => {
      if (spends.get(hash) !== undefined) spends.conflicted(batch, hash, depth);
    });
  }
}
