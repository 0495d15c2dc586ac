import {
  bitcoinErrorReason,
  type ChainSource,
  type ChainTip,
  type CheckedSpend,
  checkPsbtInTurns,
  finalizeSpend,
  type TransactionStatus,
} from "@cairn/bitcoin";
import { type Certificate, certifiedVote, initial, sameVote, signedVoteSchema } from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  decodeCanonical,
  encodeCanonical,
  isCairnError,
  type LineageId,
  type NodeIndex,
  type NodeStore,
  type RequestHash,
  type SyncHolding,
  type SyncRecord,
  type TransactionRow,
} from "@cairn/core";
import type { EarlyEvents } from "./early-events.ts";
import type { LiveSpends } from "./live-spends.ts";
import type { Batch, Loop } from "./loop.ts";
import type { SpendClaims } from "./spend-claims.ts";
import { beginSpend, keepAnchor, rowOf, type SpendIntake } from "./spend-intake.ts";
import { findLineage } from "./spend-lineage.ts";
import { readMetadata, writeMetadata } from "./spend-metadata.ts";
import type { SpendOptions } from "./spend-options.ts";
import type { SpendSignatures } from "./spend-signatures.ts";
import type { SpendVoting } from "./spend-voting.ts";
import { readStoredSpend, SETTLED_DEPTH } from "./stored-spends.ts";
import { readSyncedSpend, type SyncedSpend } from "./synced-spend.ts";
import type { WalletBook } from "./wallet-book.ts";

export interface SpendImportModules {
  readonly loop: Loop;
  readonly store: Pick<
    NodeStore,
    "transaction" | "transactionOfRequest" | "votes" | "votingRounds" | "voids" | "violations"
  >;
  readonly chain: Pick<ChainSource, "tip" | "transactionStatus">;
  readonly wallets: WalletBook;
  readonly clock: Clock;
  readonly live: LiveSpends;
  readonly claims: SpendClaims;
  readonly early: EarlyEvents;
  readonly intake: SpendIntake;
  readonly voting: SpendVoting;
  readonly signatures: SpendSignatures;
  /** A certificate is durable: signing may begin. */
  readonly certified: (hash: SyncedSpend["hash"]) => void;
  /** The spend is paid for good: all else of its lineage is over. */
  readonly settle: (batch: Batch, hash: SyncedSpend["hash"]) => void;
}

/** A signature that was verified, and where the chain has its transaction. */
interface VerifiedFinal {
  readonly checked: CheckedSpend;
  readonly hex: string;
  readonly status: TransactionStatus;
  readonly tip: ChainTip;
}

/** How old the tip and the scan of a wallet may be that an old spend is read against. */
const TIP_AGE_MS = 10_000;
const SCAN_AGE_MS = 10 * 60_000;
/** Refusals of an older view that a newer one may lift. */
const laggingReasons: ReadonlySet<string> = new Set(["psbt-locktime", "psbt-change-beyond-gap"]);

/**
 * Takes in what peers hand over of spends, as if each part had come from its author. A certificate wins over none, and whether
 * something is paid is asked of this node's own chain source alone.
 */
export class SpendImport {
  readonly #options: SpendOptions;
  readonly #modules: SpendImportModules;
  #tip: { readonly tip: ChainTip; readonly at: number } | null = null;

  constructor(options: SpendOptions, modules: SpendImportModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** Whether a peer says that it holds something of a spend that this node lacks. */
  async lacks(holding: SyncHolding): Promise<boolean> {
    const { intent: hash, certified, signed, votes, voids, yours, yourVoid } = holding;
    const live = this.#modules.live.get(hash);
    if (live === undefined) {
      const row = await this.#modules.store.transaction({ intent: hash });
      if (row === null) return true;
      return row.signedTx === null && (signed || (certified && row.certificate === null));
    }
    const { row, voting } = live;
    if (row.signedTx !== null) return false;
    if (signed || (certified && row.certificate === null)) return true;
    const { tally } = voting;
    const { me } = this.#options;
    const given = [...tally.votes.values()].reduce((sum, round) => sum + round.size, 0);
    return (
      (row.certificate === null && votes > given) ||
      voids > tally.voids.size ||
      yours.some((round) => tally.votes.get(round)?.has(me) !== true) ||
      (yourVoid && !tally.voids.has(me))
    );
  }

  /** One spend of an answer, its signatures checked. @throws CairnError those of `readSyncedSpend` */
  read(records: readonly SyncRecord[]): SyncedSpend {
    return readSyncedSpend(records, this.#options.book);
  }

  /**
   * Takes one spend in; resolves once what follows from it is durable.
   * @returns the request that must be known first, or null
   * @throws CairnError `signature-invalid` and what else the signed transaction fails; `busy`, `chain-unavailable` and the like where it
   * can be taken later
   */
  async take(from: NodeIndex, spend: SyncedSpend): Promise<RequestHash | null> {
    const { wallets, store, claims } = this.#modules;
    if (!wallets.has(spend.intent.wallet)) {
      throw new CairnError("busy", "this node does not hold the wallet's record yet", {
        wallet: spend.intent.wallet,
      });
    }
    let lineage: LineageId;
    try {
      lineage = await findLineage(spend.intent.request.body, store);
    } catch (error) {
      if (!isCairnError(error, "not-found")) throw error;
      return error.data.replaces as RequestHash;
    }
    await claims.knowing(lineage, () => this.#take(from, spend, lineage));
    return null;
  }

  async #take(from: NodeIndex, spend: SyncedSpend, lineage: LineageId): Promise<void> {
    const { live, store } = this.#modules;
    const { hash } = spend;
    const stored = live.get(hash)?.row ?? (await store.transaction({ intent: hash }));
    if (stored?.signedTx != null) return;
    const certified = spend.certificate !== null || stored?.certificate != null;
    const final = spend.final !== null && certified ? await this.#verify(spend) : null;
    if (stored === null && final === null) await this.#takeApprovals(from, spend);
    if (live.has(hash)) return this.#modules.loop.run((batch) => this.#feed(batch, from, spend, final));
    const deep = final !== null && depthOf(final) >= SETTLED_DEPTH;
    if (deep) return this.#enterPaid(from, spend, final, stored, lineage);
    if (stored === null) return this.#enter(from, spend, final, lineage);
    if (final === null && (spend.certificate === null || stored.certificate !== null)) return;
    await this.#revive(from, spend, final, stored);
  }

  /** People's approvals count only where they still do: those that do not are no fault of the peer's. */
  async #takeApprovals(from: NodeIndex, { approvals }: SyncedSpend): Promise<void> {
    for (const signed of approvals) {
      try {
        await this.#modules.intake.takeApproval(signed, from);
      } catch (error) {
        if (!isCairnError(error) || error.code === "signature-invalid") throw error;
      }
    }
  }

  /** Verifies the signatures against the sighashes that this node derives itself, and asks its chain for the transaction. */
  async #verify(spend: SyncedSpend): Promise<VerifiedFinal> {
    const { chain } = this.#modules;
    const checked = await this.#read(spend, SCAN_AGE_MS).catch((error: unknown) => {
      if (!isCairnError(error) || !laggingReasons.has(bitcoinErrorReason(error) ?? "")) throw error;
      this.#tip = null;
      return this.#read(spend, 0);
    });
    const { hex, txid } = finalizeSpend(checked, spend.final?.signatures ?? []);
    const status = await chain.transactionStatus(txid);
    return { checked, hex, status, tip: await this.#chainTip() };
  }

  async #read({ intent }: SyncedSpend, scanAgeMs: number): Promise<CheckedSpend> {
    const { wallets } = this.#modules;
    const { descriptor } = wallets.get(intent.wallet);
    const [tip, view] = await Promise.all([this.#chainTip(), wallets.view(intent.wallet, scanAgeMs)]);
    return checkPsbtInTurns(intent.psbt, {
      descriptor,
      request: intent.request.body,
      tipHeight: tip.height,
      nextChangeIndex: view.nextChangeIndex,
      anchor: intent.anchor?.checkpoint ?? null,
    });
  }

  async #chainTip(): Promise<ChainTip> {
    const now = this.#modules.clock.monotonic();
    if (this.#tip === null || now - this.#tip.at > TIP_AGE_MS) {
      this.#tip = { tip: await this.#modules.chain.tip(), at: now };
    }
    return this.#tip.tip;
  }

  /** A spend that is new here and may still change. */
  async #enter(
    from: NodeIndex,
    spend: SyncedSpend,
    final: VerifiedFinal | null,
    lineage: LineageId,
  ): Promise<void> {
    const { loop, live, claims, early, voting, intake, store, clock } = this.#modules;
    const { hash, intent } = spend;
    const dead = spend.voids.length > 0;
    if (spend.certificate === null && !dead) intake.checkQuota(from, intent.request);
    const before = await store.votes(hash);
    const enter = (batch: Batch) => {
      if (live.has(hash)) return this.#feed(batch, from, spend, final);
      const row = rowOf(intent, hash, lineage, from, clock.now());
      beginSpend(batch, live, { intent, row, receiver: from });
      for (const { voter, body } of before) {
        const vote = decodeCanonical(signedVoteSchema, body);
        voting.step(batch, hash, { kind: "vote", from: voter, vote }, true);
      }
      for (const { event } of early.take(batch, hash)) {
        voting.step(batch, hash, event, event.kind === "vote");
      }
      this.#feed(batch, from, spend, final);
      // What is still undecided is voted on, or was over before this node heard of it.
      voting.open(batch, hash);
    };
    await claims.knowing(lineage, () => loop.run(enter));
  }

  /** A spend that the chain holds six deep: it is history, and only limits look back at it. */
  async #enterPaid(
    from: NodeIndex,
    spend: SyncedSpend,
    { checked, hex, status, tip }: VerifiedFinal,
    stored: TransactionRow | null,
    lineage: LineageId,
  ): Promise<void> {
    if (status.state !== "confirmed") return;
    const { loop, live, claims, clock, settle } = this.#modules;
    const { hash, intent } = spend;
    const now = clock.now();
    const base = stored ?? rowOf(intent, hash, lineage, from, now);
    const { blockHeight, blockHash } = status;
    const row: TransactionRow = {
      ...base,
      state: "confirmed",
      reason: null,
      certificate: spend.certificate === null ? base.certificate : encodeCanonical(spend.certificate),
      signedTx: hex,
      feeSats: checked.feeSats,
      metadata: writeMetadata({ ...readMetadata(base.metadata), signers: signersOf(spend) }),
      updatedAt: now,
      confirmedAt: now,
      confirmations: tip.height - blockHeight + 1,
      blockHeight,
      blockHash,
    };
    const { receiver } = readMetadata(row.metadata);
    const enter = (batch: Batch) => {
      if (live.has(hash)) return;
      const voting = initial({ intent: hash, expiry: row.expiry });
      live.add(batch, { intent, row, receiver, voting, checked, reserved: false, voiding: false });
      batch.audit("payment-synced", hash, { from, txid: row.txid, blockHeight });
      if (intent.anchor !== null) keepAnchor(batch, intent.anchor, row);
      claims.count(batch, hash);
      settle(batch, hash);
    };
    await claims.knowing(lineage, () => loop.run(enter));
  }

  /** A spend that had ended here without what the others have: it goes on, or ends as theirs did. */
  async #revive(
    from: NodeIndex,
    spend: SyncedSpend,
    final: VerifiedFinal | null,
    stored: TransactionRow,
  ): Promise<void> {
    const { loop, live, claims, voting, store, clock, certified } = this.#modules;
    const { hash, certificate } = spend;
    const row: TransactionRow = {
      ...stored,
      state: final === null ? "approved" : "signed",
      reason: null,
      certificate: certificate === null ? stored.certificate : encodeCanonical(certificate),
      signedTx: final?.hex ?? null,
      updatedAt: clock.now(),
    };
    const { live: revived, effects } = await readStoredSpend(store, row, (intent) =>
      voting.contextOf(intent),
    );
    const enter = (batch: Batch) => {
      if (live.has(hash)) return this.#feed(batch, from, spend, final);
      live.add(batch, { ...revived, checked: final?.checked ?? null });
      batch.audit("intent-revived", hash, { from, signed: final !== null });
      claims.count(batch, hash);
      voting.carryOut(batch, hash, effects);
      this.#feed(batch, from, { ...spend, certificate: null }, null);
      batch.afterwards(() => {
        if (live.get(hash)?.row.signedTx !== null) return;
        voting.remind(hash);
        certified(hash);
      });
    };
    await claims.knowing(row.lineage, () => loop.run(enter));
  }

  /** Tells a spend's machine what the peer knows, in an order in which nothing is lost. */
  #feed(batch: Batch, from: NodeIndex, spend: SyncedSpend, final: VerifiedFinal | null): void {
    const { live, voting, claims, signatures } = this.#modules;
    const { me } = this.#options;
    const { hash, certificate } = spend;
    for (const vote of spend.votes) {
      if (!live.has(hash)) return;
      voting.step(batch, hash, { kind: "vote", from, vote });
      // This node's own word, which it may have forgotten: it holds limits and coins again, as it did then.
      if (vote.body.voter === me && vote.body.approve && live.has(hash)) claims.count(batch, hash);
    }
    if (certificate !== null && live.has(hash)) {
      this.#accuse(batch, from, certificate);
      if (live.of(hash).row.certificate === null)
        voting.step(batch, hash, { kind: "certificate", from, certificate });
    }
    // A void says nothing against signatures that are there.
    if (final === null) {
      for (const signed of spend.voids) {
        if (!live.has(hash)) return;
        if (signed.body.node === me) live.set(batch, hash, { voiding: true });
        voting.step(batch, hash, { kind: "void", from, void: signed });
      }
    }
    if (final === null || !live.has(hash) || live.of(hash).row.signedTx !== null) return;
    live.set(batch, hash, { checked: final.checked });
    signatures.take(batch, hash, spend.final?.signatures ?? [], signersOf(spend));
  }

  /** Whoever stands in the certificate and voted otherwise in the same round has signed two words: the machine keeps both. */
  #accuse(batch: Batch, from: NodeIndex, certificate: Certificate): void {
    const { live, voting } = this.#modules;
    const { intentHash: hash, round } = certificate;
    for (const entry of certificate.votes) {
      const known = live.get(hash)?.voting.tally.votes.get(round)?.get(entry.voter);
      const body = certifiedVote(certificate, entry);
      if (known === undefined || sameVote(known.body, body)) continue;
      voting.step(batch, hash, { kind: "vote", from, vote: { body, signature: entry.signature } });
    }
  }
}

function depthOf({ status, tip }: VerifiedFinal): number {
  return status.state === "confirmed" ? tip.height - status.blockHeight + 1 : 0;
}

/** Whose partial signatures made it, as the peer says: for people alone. */
function signersOf({ final }: SyncedSpend): readonly NodeIndex[] {
  return (final?.signers ?? []) as readonly NodeIndex[];
}
