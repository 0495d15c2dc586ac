import type { ChainSource, CheckedSpend } from "@cairn/bitcoin";
import {
  type Certificate,
  certificateSchema,
  deriveGrant,
  type Evidence,
  type Grant,
  type GrantEvidence,
  type GrantSource,
  type Intent,
  intentSchema,
  isDead,
  type VotingEffect,
} from "@cairn/consensus";
import {
  type Clock,
  decodeCanonical,
  type IntentHash,
  type Manifest,
  type NodeStore,
  type Random,
  type RequestHash,
  type SignatureHex,
  type SignedCheckpoint,
  type SignedSpendApproval,
  type Signer,
  type SpendOutput,
  type SpendRequest,
  spendRequestHash,
  type TransactionRow,
  toHex,
  type WalletId,
} from "@cairn/core";
import { type PolicyVerdict, policyWindow } from "@cairn/policy";
import { AnchorChoice } from "./anchor-choice.ts";
import { ApprovalBook, type ApprovalStanding } from "./approval-book.ts";
import type { CoinAdvice } from "./coin-advice.ts";
import { EarlyEvents } from "./early-events.ts";
import { FaultyIntents, type RecordViolation } from "./faulty-intents.ts";
import { type LiveSpend, LiveSpends } from "./live-spends.ts";
import type { Batch, Loop } from "./loop.ts";
import type { Recollection } from "./recollection.ts";
import { SpendBuilder } from "./spend-builder.ts";
import { SpendClaims } from "./spend-claims.ts";
import { SpendImport } from "./spend-import.ts";
import { SpendInbox } from "./spend-inbox.ts";
import { SpendIntake } from "./spend-intake.ts";
import { SpendJudge } from "./spend-judge.ts";
import type { SpendMetadata } from "./spend-metadata.ts";
import { spendOfRequest } from "./spend-of-request.ts";
import type { SpendOptions } from "./spend-options.ts";
import { SpendShelf } from "./spend-shelf.ts";
import { SpendSignatures } from "./spend-signatures.ts";
import { SpendVoting } from "./spend-voting.ts";
import { storedSpends } from "./stored-spends.ts";
import { unawaited } from "./unawaited.ts";
import type { WalletBook } from "./wallet-book.ts";

export interface SpendDeskOptions extends SpendOptions {
  /** Least time between two anchors of checkpoints. */
  readonly anchorMs: number;
}

export interface SpendDeskModules {
  readonly loop: Loop;
  readonly store: NodeStore;
  readonly chain: ChainSource;
  readonly wallets: WalletBook;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly random: Random;
  readonly coinAdvice?: CoinAdvice;
  /** A certificate is durable: signing may begin. */
  readonly certified: (hash: IntentHash) => void;
  /** The signed transaction is durable: it may be published. */
  readonly signed: (hash: IntentHash) => void;
  /** Whether a signing session for it lives here. */
  readonly signing: (hash: IntentHash) => boolean;
  /** Whether an attempt at signing it is under way, here or at others. */
  readonly underWay: (hash: IntentHash) => boolean;
  readonly violation: RecordViolation;
  /** Whether third parties will find the evidence to prove what it says. */
  readonly proves: (evidence: Evidence) => boolean;
  readonly changed: (row: TransactionRow) => void;
  /** Resolves once this node may vote and sign. @throws CairnError `rolled-back` */
  readonly admitted: () => Promise<void>;
  readonly recollection: Pick<Recollection, "restoredAt" | "forgets">;
  /** The newest complete checkpoint of the audit logs, or null. */
  readonly checkpoint: () => SignedCheckpoint | null;
  readonly report: (cause: unknown) => void;
}

/** Requests, intents, votes and certificates: from what an owner asks to what a quorum has approved, and to its settlement. */
export class SpendDesk {
  /** What peers say of spends before they are signed. */
  readonly inbox: SpendInbox;
  /** Signed transactions. */
  readonly signatures: SpendSignatures;
  /** What peers hand over of spends that this node missed. */
  readonly sync: SpendImport;
  /** What this node hands over. */
  readonly shelf: SpendShelf;
  readonly #options: SpendOptions;
  readonly #modules: SpendDeskModules;
  readonly #live: LiveSpends;
  readonly #claims: SpendClaims;
  readonly #approvals: ApprovalBook;
  readonly #judge: SpendJudge;
  readonly #voting: SpendVoting;
  readonly #builder: SpendBuilder;
  readonly #intake: SpendIntake;
  /** What restored machines asked for, until {@link resume}. */
  readonly #restored = new Map<IntentHash, readonly VotingEffect[]>();
  /** What follows from each reading of a PSBT, and from a row's certificate. */
  readonly #grants = new WeakMap<CheckedSpend, { readonly grant: Grant; readonly source: GrantSource }>();
  readonly #certificates = new WeakMap<Uint8Array, Certificate>();
  /** Requests that are being turned into intents. */
  readonly #submitting = new Map<RequestHash, Promise<TransactionRow>>();
  /** Requests that come at once pick their coins one after another. */
  #picking: Promise<unknown> = Promise.resolve();

  constructor(options: SpendDeskOptions, modules: SpendDeskModules) {
    this.#options = options;
    this.#modules = modules;
    const early = new EarlyEvents(modules.clock);
    const live = new LiveSpends(modules);
    const claims = new SpendClaims({ ...modules, live });
    const approvals = new ApprovalBook(options, { ...modules, live });
    const forgot = (row: TransactionRow) => this.#forgot(row);
    const judge = new SpendJudge(options, { ...modules, live, claims, approvals, forgot });
    const faulty = new FaultyIntents(options.me, { ...modules, live, early });
    const voting = new SpendVoting(options, { ...modules, live, claims, approvals, judge, faulty, forgot });
    const intake = new SpendIntake(options, { ...modules, live, claims, early, approvals, voting });
    this.#live = live;
    this.#claims = claims;
    this.#approvals = approvals;
    this.#judge = judge;
    this.#voting = voting;
    this.#intake = intake;
    const anchors = new AnchorChoice(options, { ...modules, newest: modules.checkpoint });
    this.#builder = new SpendBuilder(options, { ...modules, live, claims, anchors });
    this.signatures = new SpendSignatures(options.me, { ...modules, live, judge, voting });
    this.inbox = new SpendInbox(options, {
      ...modules,
      live,
      early,
      faulty,
      intake,
      voting,
      signatures: this.signatures,
    });
    this.sync = new SpendImport(options, {
      ...modules,
      live,
      claims,
      early,
      intake,
      voting,
      signatures: this.signatures,
      settle: (batch, hash) => this.settle(batch, hash),
    });
    this.shelf = new SpendShelf({ ...modules, live });
  }

  /** Takes up what the store holds, before messages are let in. {@link resume} goes on with it. */
  async restore(): Promise<void> {
    const { store } = this.#modules;
    await this.#claims.restore();
    await this.#claims.cover(policyWindow(this.#options.book.policy));
    this.#approvals.restore(await store.approvals());
    const stored = await storedSpends(store, this.#claims.heldFor(), (intent) =>
      this.#voting.contextOf(intent),
    );
    for (const { live, effects } of stored) {
      await this.#claims.knowing(live.row.lineage, async () => this.#live.restore(live));
      this.#restored.set(live.row.intent, effects);
    }
  }

  /** Carries out what the restored machines ask for, now that messages can leave. */
  async resume(): Promise<void> {
    for (const [hash, effects] of this.#restored) {
      await this.#modules.loop.run((batch) => {
        const live = this.#live.get(hash);
        if (live === undefined) return;
        batch.write({ write: "transaction", row: live.row });
        this.#voting.carryOut(batch, hash, effects);
        this.#voting.open(batch, hash);
      });
    }
    this.#restored.clear();
    for (const { row, voiding } of this.#live.all()) {
      if (row.certificate === null) continue;
      this.#voting.remind(row.intent);
      if (row.signedTx === null && !voiding) this.#modules.certified(row.intent);
    }
  }

  get(hash: IntentHash): LiveSpend | undefined {
    return this.#live.get(hash);
  }

  all(): readonly LiveSpend[] {
    return this.#live.all();
  }

  /** Sum that this node's approvals hold of a wallet for spends that the chain has not seen yet, in satoshi. */
  reservedSats(wallet: WalletId): bigint {
    return this.#claims.reservedSats(wallet);
  }

  /**
   * Asks for a spend: picks coins, builds the PSBT, stores the intent and sends it to all. A request that is known already
   * answers with what was made of it; one that gave way to another, and is dead, is tried with other coins while it lasts.
   * @throws CairnError for everything that is wrong with the request; nothing is stored then
   */
  submit(request: SpendRequest, signature: SignatureHex | null): Promise<TransactionRow> {
    const hash = spendRequestHash(request);
    const running = this.#submitting.get(hash);
    if (running !== undefined) return running;
    const submission = this.#submit(hash, request, signature).finally(() => this.#submitting.delete(hash));
    this.#submitting.set(hash, submission);
    return submission;
  }

  /**
   * Takes a person's approval of a request, which may not be here yet, and tells all.
   * @throws CairnError those of core's `verifySpendApproval`; `busy`
   */
  takeApproval(signed: SignedSpendApproval): Promise<void> {
    return this.#intake.takeApproval(signed, this.#options.me);
  }

  /** How the approvals stand that policy asks for; null where it asks for none. */
  approvals(
    hash: RequestHash,
    request: { readonly outputs: readonly SpendOutput[] },
  ): ApprovalStanding | null {
    return this.#approvals.standing(hash, request);
  }

  /** Another policy or manifest is in force: it may ask for other approvals. */
  policyChanged(): void {
    unawaited(this.#claims.cover(policyWindow(this.#options.book.policy)), this.#modules.report);
    this.#voting.reopen();
  }

  /** Forgets approvals that have expired. */
  prune(): Promise<void> {
    return this.#modules.loop.run((batch) => this.#approvals.prune(batch));
  }

  /** What this node's policy says of a spend, with nothing reserved; approvals count where the request is known by its hash. */
  dryRun(
    request: Pick<SpendRequest, "outputs" | "maxFeeSats">,
    hash: RequestHash | null = null,
  ): PolicyVerdict {
    return this.#judge.dryRun(request, hash);
  }

  /**
   * Has this node check a certified spend for itself and reserve for it, before its first Ack (architecture §5.3).
   * @throws CairnError with the reason for which it does not take part
   */
  approve(hash: IntentHash): Promise<CheckedSpend> {
    return this.#judge.approve(hash);
  }

  /** The grant of a certified spend that this node has read itself, and what it holds in favour of it. */
  grantOf(hash: IntentHash): { readonly grant: Grant; readonly evidence: GrantEvidence } | null {
    const live = this.#live.get(hash);
    if (live === undefined || live.checked === null) return null;
    const { manifest, manifestHash } = this.#options.book.under(live.intent.manifestHash);
    const known = this.#grants.get(live.checked);
    const { grant, source } = known ?? this.#derive(live.intent, live.checked, manifest);
    if (known === undefined) this.#grants.set(live.checked, { grant, source });
    const { certificate, signedTx, firstSeenAt } = live.row;
    return {
      grant,
      evidence: {
        ...source,
        manifestHash,
        firstSeenAt,
        standing: live.voiding || signedTx !== null ? "ended" : "live",
        certificate: certificate === null ? null : this.#certificate(certificate),
      },
    };
  }

  #derive(
    intent: Intent,
    checked: CheckedSpend,
    manifest: Manifest,
  ): { readonly grant: Grant; readonly source: GrantSource } {
    const source: GrantSource = {
      intent,
      manifest,
      wallet: this.#modules.wallets.get(intent.wallet).signed.record,
      inputs: checked.inputs.map(({ sighash, path, outpoint, amountSats }): Grant["inputs"][number] => ({
        sighash: toHex(sighash.digest) as Grant["inputs"][number]["sighash"],
        path: [path[0], path[1]],
        outpoint,
        amountSats,
      })),
    };
    return { grant: deriveGrant(source), source };
  }

  #certificate(body: Uint8Array): Certificate {
    const certificate = this.#certificates.get(body) ?? decodeCanonical(certificateSchema, body);
    this.#certificates.set(body, certificate);
    return certificate;
  }

  /** Changes a spend's row. @throws CairnError `not-found` */
  update(
    batch: Batch,
    hash: IntentHash,
    change: Partial<TransactionRow>,
    metadata?: (before: SpendMetadata) => SpendMetadata,
  ): void {
    this.#live.update(batch, hash, change, metadata);
  }

  /** The chain holds the transaction. */
  confirmed(batch: Batch, hash: IntentHash): void {
    this.#voting.step(batch, hash, { kind: "confirmed" });
  }

  /** A reorganisation took it out again. */
  unconfirmed(batch: Batch, hash: IntentHash): void {
    this.#voting.step(batch, hash, { kind: "unconfirmed" });
  }

  /** Another transaction spends one of its coins. */
  conflicted(batch: Batch, hash: IntentHash, depth: number): void {
    this.#voting.step(batch, hash, { kind: "conflicted", depth });
  }

  /** Six deep: limits stay counted for their window, all else of the lineage is over. */
  settle(batch: Batch, hash: IntentHash): void {
    this.#claims.settle(batch, hash);
    const paid = this.#live.of(hash).row;
    const { state, signedTx, confirmations, confirmedAt, blockHeight, blockHash } = paid;
    for (const { row } of this.#live.ofLineage(paid.lineage)) {
      if (row.intent === hash) continue;
      // This node may have approved only the other one: quorums overlap, so it can't be certified beside what was paid.
      this.#claims.free(batch, row.intent);
      // Two nodes may have built one transaction from the request: then it is what was paid.
      const end: Partial<TransactionRow> =
        row.txid === paid.txid
          ? { state, reason: null, signedTx, confirmations, confirmedAt, blockHeight, blockHash }
          : { state: "replaced", reason: "replaced" };
      this.#live.update(batch, row.intent, end);
      this.#live.remove(batch, row.intent);
    }
    this.#live.remove(batch, hash);
    batch.afterwards(() => this.#voting.unblock());
  }

  /** Whether this node may have acted in a lineage before it lost its database: then it never does again. */
  async #forgot({ lineage }: TransactionRow): Promise<boolean> {
    const { recollection, store } = this.#modules;
    if (recollection.restoredAt === null) return false;
    const rows = await store.transactionsOfLineage(lineage);
    return recollection.forgets(rows.map(({ expiry }) => expiry));
  }

  /**
   * Whether a spend gave way to another that wanted its coins, so that its request, asked again, is tried with others: it is dead, and
   * nothing of its lineage was signed. That a request is paid once does not rest on this: each node holds it at its vote.
   */
  async #gaveWay({ intent, reason, expiry, intentBody, lineage }: TransactionRow): Promise<boolean> {
    const { store, clock } = this.#modules;
    if (reason !== "displaced" || expiry <= clock.now() || this.#live.has(intent)) return false;
    const { manifest } = this.#options.book.under(decodeCanonical(intentSchema, intentBody).manifestHash);
    const voids = (await store.voids(intent)).map(({ node }) => node);
    if (!isDead({ conflictDepth: 0, voids }, manifest)) return false;
    const rows = await store.transactionsOfLineage(lineage);
    return rows.every(({ signedTx }) => signedTx === null);
  }

  async #submit(
    hash: RequestHash,
    request: SpendRequest,
    signature: SignatureHex | null,
  ): Promise<TransactionRow> {
    const known = await spendOfRequest(this.#modules.store, hash);
    if (known !== null && !(await this.#gaveWay(known))) return known;
    const draft = this.#builder.draft(request, signature);
    const means = await this.#builder.means(request);
    const picked = this.#picking.then(async () =>
      this.#intake.insert(await this.#builder.complete(draft, means), this.#options.me),
    );
    this.#picking = picked.catch(() => {});
    return picked;
  }
}
