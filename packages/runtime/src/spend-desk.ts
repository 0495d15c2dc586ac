import {
  buildPsbt,
  type ChainSource,
  type CheckedSpend,
  decodeAddress,
  deriveKey,
  encodePsbt,
  feeRatePerKvb,
  finalizeSpend,
  parsePsbt,
  pickFeeRate,
  selectCoins,
  unsignedTransactionId,
  type WalletCoin,
} from "@cairn/bitcoin";
import {
  bookOf,
  type Certificate,
  certificateSchema,
  checkIntent,
  checkIntentForm,
  type Deferral,
  deferralSchema,
  deriveGrant,
  type Evidence,
  FIRST_ROUND,
  type Grant,
  type GrantEvidence,
  grantIdOf,
  historyOf,
  type Intent,
  initial,
  intentHash,
  intentSchema,
  lineageOf,
  markDead,
  mayVoid,
  type ReservationBook,
  recordCertified,
  reserve,
  restore,
  type SignedVoid,
  type SignedVote,
  sameVote,
  settlePaid,
  signedVoidSchema,
  signedVoteSchema,
  signVoid,
  signVote,
  step,
  type Verdict,
  type VotingContext,
  type VotingEffect,
  type VotingEvent,
  type VotingState,
  verifyVoid,
  verifyVote,
} from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  decodeCanonical,
  encodeCanonical,
  type IntentHash,
  isCairnError,
  type KeyId,
  type KeyPath,
  type LineageId,
  type Manifest,
  type ManifestHash,
  type NodeIndex,
  type NodeStore,
  outpointText,
  type PeerMessage,
  type Random,
  type RequestHash,
  type Sats,
  type SignatureHex,
  type Signer,
  type SpendRequest,
  spendRequestHash,
  type TransactionRow,
  type TransactionState,
  type Txid,
  toHex,
  type UnixMs,
  type WalletId,
} from "@cairn/core";
import { evaluate, type Policy, type PolicyVerdict, ROLLING_WINDOW_MS } from "@cairn/policy";
import { z } from "zod";
import { atTime } from "./at-time.ts";
import type { Batch, Cell, Loop } from "./loop.ts";
import { checkSpend, type SpendCheck } from "./spend-check.ts";
import { readMetadata, type SpendMetadata, writeMetadata } from "./spend-metadata.ts";
import type { WalletBook } from "./wallet-book.ts";

/** A spend that may still change, as this node knows it. */
export interface LiveSpend {
  readonly intent: Intent;
  readonly row: TransactionRow;
  readonly voting: VotingState;
  /** This node's own reading of the PSBT; null until its first check passes. */
  readonly checked: CheckedSpend | null;
  /** This node holds limits and coins for it: it voted or acked, durably. */
  readonly reserved: boolean;
  /** This node is about to sign `Void`, or has: it never takes part in signing it. */
  readonly voiding: boolean;
}

export interface SpendDeskOptions {
  readonly me: NodeIndex;
  readonly manifest: Manifest;
  readonly manifestHash: ManifestHash;
  readonly policy: Policy;
  readonly protocolVersions: readonly number[];
  readonly clockSkewMs: number;
  /** Length of a round of voting. */
  readonly roundMs: number;
  /** Wait before a check that may pass later is made again. */
  readonly recheckMs: number;
}

export interface SpendDeskModules {
  readonly loop: Loop;
  readonly store: NodeStore;
  readonly chain: ChainSource;
  readonly wallets: WalletBook;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly random: Random;
  /** A certificate is durable: signing may begin. */
  readonly certified: (hash: IntentHash) => void;
  /** The signed transaction is durable: it may be published. */
  readonly signed: (hash: IntentHash) => void;
  /** Whether a signing session for it lives here. */
  readonly signing: (hash: IntentHash) => boolean;
  readonly violation: (
    batch: Batch,
    violation: Pick<Extract<VotingEffect, { kind: "violation" }>, "type" | "node" | "evidence">,
    subject: string,
  ) => void;
  /** Whether third parties will find the evidence to prove what it says. */
  readonly proves: (evidence: Evidence) => boolean;
  readonly changed: (row: TransactionRow) => void;
  readonly report: (cause: unknown) => void;
}

/** What one input of a spend has its key sign. */
export interface SpendSigningItem {
  readonly keyId: KeyId;
  readonly path: KeyPath;
  readonly preimage: Uint8Array;
}

/** Payload of a `final` message: a transaction's signatures, which every receiver verifies for itself. */
const finalSchema = z.strictObject({
  version: z.literal(1),
  intentHash: z.string().regex(/^[0-9a-f]{64}$/),
  signers: z.array(z.number().int().min(1).max(255)).max(255),
  signatures: z.array(z.instanceof(Uint8Array)).min(1).max(1024),
});

/** Fee rate on networks that have no estimates, such as a fresh regtest. */
const FALLBACK_RATE = feeRatePerKvb(2_000n);
const RATE_CEILING = feeRatePerKvb(500_000n);
const FEE_TARGET_BLOCKS = 6;

/** Confirmations after which a payment is settled: deeper reorganisations are not followed. */
export const SETTLED_DEPTH = 6;

/** States in which a spend is under way. */
const openStates: readonly TransactionState[] = [
  "pending",
  "voting",
  "approved",
  "signing",
  "signed",
  "broadcasting",
];

/** States that say why a spend was never paid. */
const endedStates: ReadonlySet<TransactionState> = new Set<TransactionState>([
  "rejected",
  "expired",
  "replaced",
  "aborted-byzantine",
  "aborted-timeout",
]);

/** Rows read at a restart, and confirmed ones among which unsettled ones are looked for. */
const MAX_RESTORED = 1_000_000;
const MAX_RECENT = 1_000;

/** Votes and voids kept for intents that have not arrived yet, a peer, and for how long. */
const MAX_EARLY_PER_PEER = 256;
const EARLY_MS = 10 * 60_000;

/** Open intents that one peer may have made at a time, and how many of them for one request. */
const MAX_OPEN_PER_PEER = 256;
const MAX_OPEN_PER_REQUEST = 8;

/** Intents with a static fault that are remembered, so that whoever approves one is named. */
const MAX_FAULTY = 16;

const rowStates: Record<VotingState["name"], TransactionState | null> = {
  Initial: "pending",
  Collecting: "voting",
  ThresholdReached: "approved",
  Submitted: null,
  Confirmed: null,
  Rejected: "rejected",
  AbortedTimeout: "aborted-timeout",
  AbortedByzantine: "aborted-byzantine",
  Voided: "failed",
  Dead: "failed",
};

interface EarlyEvent {
  readonly from: NodeIndex;
  readonly event: VotingEvent;
  readonly at: UnixMs;
}

/** Requests, intents, votes and certificates: from what an owner asks to what a quorum has approved. */
export class SpendDesk {
  readonly #options: SpendDeskOptions;
  readonly #modules: SpendDeskModules;
  readonly #live = new Map<IntentHash, LiveSpend>();
  readonly #book: Cell<ReservationBook> = { value: bookOf([]) };
  readonly #early = new Map<IntentHash, readonly EarlyEvent[]>();
  readonly #earlyOf = new Map<NodeIndex, number>();
  /** Intents of peers that no honest node approves, oldest first. */
  readonly #faulty = new Map<IntentHash, Intent>();
  /** What restored machines asked for, until {@link resume}. */
  readonly #restored = new Map<IntentHash, readonly VotingEffect[]>();
  /** Requests that are being turned into intents. */
  readonly #submitting = new Map<RequestHash, Promise<TransactionRow>>();

  constructor(options: SpendDeskOptions, modules: SpendDeskModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** Takes up what the store holds, before messages are let in. {@link resume} goes on with it. */
  async restore(): Promise<void> {
    const { store, clock } = this.#modules;
    const now = clock.now();
    const since = (now - ROLLING_WINDOW_MS) as UnixMs;
    this.#book.value = bookOf(await store.reservations(since));
    const violations = await store.violations({ limit: MAX_RESTORED });
    for (const row of await this.#unsettled()) {
      const intent = decodeCanonical(intentSchema, row.intentBody);
      const [votes, rounds, voids] = await Promise.all([
        store.votes(row.intent),
        store.votingRounds(row.intent),
        store.voids(row.intent),
      ]);
      // Sessions do not outlive a process.
      const shown = row.state === "signing" ? { ...row, state: "approved" as const } : row;
      const ownVoid = voids.some((entry) => entry.node === this.#options.me);
      const restored = restore(
        {
          subject: { intent: row.intent, expiry: row.expiry },
          votes: votes.map((vote) => decodeCanonical(signedVoteSchema, vote.body)),
          rounds,
          voids: voids.map((entry) => decodeCanonical(signedVoidSchema, entry.body)),
          certificate: row.certificate === null ? null : decodeCanonical(certificateSchema, row.certificate),
          doubleVoters: violations
            .filter(({ type, subject }) => type === "DoubleVote" && subject === row.intent)
            .map(({ node }) => node),
          chain: row.state === "confirmed" ? "confirmed" : row.signedTx === null ? "unseen" : "submitted",
          conflictDepth: 0,
        },
        this.#context(),
      );
      this.#live.set(row.intent, {
        intent,
        row: shown,
        voting: restored.state,
        checked: null,
        // Policy is asked again before the first Ack of this process.
        reserved: false,
        voiding: ownVoid,
      });
      this.#restored.set(row.intent, restored.effects);
    }
  }

  /** Carries out what the restored machines ask for, now that messages can leave. */
  async resume(): Promise<void> {
    for (const [hash, effects] of this.#restored) {
      await this.#modules.loop.run((batch) => {
        const live = this.#live.get(hash);
        if (live === undefined) return;
        batch.write({ write: "transaction", row: live.row });
        this.#carryOut(batch, hash, effects);
      });
    }
    this.#restored.clear();
    for (const [hash, live] of this.#live) {
      if (live.row.certificate === null || live.row.signedTx !== null || live.voiding) continue;
      this.#modules.certified(hash);
    }
  }

  get(hash: IntentHash): LiveSpend | undefined {
    return this.#live.get(hash);
  }

  all(): readonly LiveSpend[] {
    return [...this.#live.values()];
  }

  /** Sum that this node's approvals hold of a wallet for spends that the chain has not seen yet, in satoshi. */
  reservedSats(wallet: WalletId): bigint {
    let sum = 0n;
    for (const row of this.#book.value.rows.values()) {
      const seen = row.intents.some(({ intent }) => this.#live.get(intent)?.row.signedTx != null);
      if (row.wallet === wallet && row.freedAt === null && !seen) sum += row.amountSats;
    }
    return sum;
  }

  /**
   * Asks for a spend: picks coins, builds the PSBT, stores the intent and sends it to all. A request that is known already
   * answers with what was made of it.
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

  /** What this node's policy says of a spend, with nothing reserved. */
  dryRun(request: Pick<SpendRequest, "outputs" | "maxFeeSats">): PolicyVerdict {
    return evaluate(this.#options.policy, {
      history: historyOf(this.#book.value, (intent) => this.#firm(intent)),
      request,
      lineage: "" as LineageId,
      feeSats: request.maxFeeSats,
      vbytes: Number.MAX_SAFE_INTEGER,
      approvals: [],
      now: this.#modules.clock.now(),
    });
  }

  /** A peer's intent. Faults in it are refused, recorded, and not asked for again. */
  async onIntent(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const intent = decodeCanonical(intentSchema, payload);
    const hash = intentHash(intent);
    if (this.#live.has(hash) || (await this.#modules.store.transaction({ intent: hash })) !== null) return;
    try {
      checkIntent(intent, { ...this.#rules(), ...this.#versions(), now: this.#modules.clock.now() });
    } catch (error) {
      if (!isCairnError(error)) throw error;
      // Nobody pays what has expired, but those who reserved for it in time need this node's void to free their coins.
      if (error.code !== "expired") {
        if (this.#isMalformed(intent))
          await this.#modules.loop.run((batch) => this.#faultFound(batch, hash, intent));
        throw error;
      }
    }
    this.#checkQuota(from, spendRequestHash(intent.request.body));
    if (!this.#modules.wallets.has(intent.wallet)) {
      throw new CairnError("busy", "this node does not hold the wallet's record yet; send the intent again", {
        wallet: intent.wallet,
      });
    }
    await this.#insert(intent, hash, from);
  }

  async onVote(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const vote = decodeCanonical(signedVoteSchema, payload);
    const hash = vote.body.intentHash;
    const genuine = () => verifyVote(vote, this.#options.manifest, this.#options.manifestHash);
    if (!(await this.#genuine(from, hash, genuine))) return;
    const faulty = this.#faulty.get(hash);
    if (faulty !== undefined)
      await this.#modules.loop.run((batch) => this.#accuse(batch, hash, faulty, [vote]));
    // What was refused on arrival is not voted on; what was stored first is, so that its rejections end it.
    if (faulty === undefined || this.#live.has(hash))
      await this.#feed(hash, from, { kind: "vote", from, vote });
  }

  async onDeferral(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const deferral: Deferral = decodeCanonical(deferralSchema, payload);
    await this.#feed(deferral.intentHash, from, { kind: "deferral", from, deferral });
  }

  async onVoid(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const signed = decodeCanonical(signedVoidSchema, payload);
    const genuine = () => verifyVoid(signed, this.#options.manifest, this.#options.manifestHash);
    if (!(await this.#genuine(from, signed.body.intentHash, genuine))) return;
    await this.#feed(signed.body.intentHash, from, { kind: "void", from, void: signed });
  }

  async onCertificate(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const certificate = decodeCanonical(certificateSchema, payload);
    await this.#feed(certificate.intentHash, from, { kind: "certificate", from, certificate });
  }

  /** A peer says that the transaction is signed. Wrong signatures are named: an honest node verifies what it sends. */
  async onFinal(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const final = decodeCanonical(finalSchema, payload);
    const hash = final.intentHash as IntentHash;
    const live = this.#live.get(hash);
    if (live === undefined && (await this.#modules.store.transaction({ intent: hash })) === null) {
      throw new CairnError("busy", "this node has not seen the intent yet; send it again", { intent: hash });
    }
    if (live === undefined) return;
    if (live.row.signedTx !== null) return this.#nameSigners(hash, final.signers as NodeIndex[]);
    const checked = live.checked ?? (await this.#read(hash));
    if (checked === null) {
      throw new CairnError("busy", "this node could not check the transaction yet; send it again", {
        intent: hash,
      });
    }
    await this.#modules.loop.run((batch) => {
      if (this.takeSigned(batch, hash, final.signatures, final.signers as NodeIndex[])) return;
      this.#modules.violation(batch, { type: "InvalidSignature", node: from, evidence: null }, hash);
    });
  }

  /** Notes who signed, by a peer's word, where this node came by the transaction without being told. */
  #nameSigners(hash: IntentHash, signers: readonly NodeIndex[]): Promise<void> {
    return this.#modules.loop.run((batch) => {
      const live = this.#live.get(hash);
      if (live === undefined || readMetadata(live.row.metadata).signers.length > 0) return;
      this.update(batch, hash, {}, (metadata) => ({ ...metadata, signers }));
    });
  }

  /** The chain holds a spend's transaction, whose signatures this node was never told: it is paid all the same. */
  met(batch: Batch, hash: IntentHash, rawTransaction: Uint8Array): void {
    const live = this.#live.get(hash);
    if (live === undefined || live.row.signedTx !== null) return;
    this.update(batch, hash, { state: "signed", signedTx: toHex(rawTransaction), reason: null });
    batch.audit("transaction-met", hash, { txid: live.row.txid });
    this.#step(batch, hash, { kind: "submitted" });
  }

  /** Takes a peer's signatures. @returns false where they do not verify; nothing is changed then */
  takeSigned(
    batch: Batch,
    hash: IntentHash,
    signatures: readonly Uint8Array[],
    signers: readonly NodeIndex[],
  ): boolean {
    try {
      this.signed(batch, hash, signatures, signers, false);
      return true;
    } catch (error) {
      if (!isCairnError(error, "signature-invalid")) throw error;
      return false;
    }
  }

  /**
   * Has this node check a certified spend for itself and reserve for it, before its first Ack (architecture §5.3).
   * @throws CairnError with the reason for which it does not take part
   */
  async approve(hash: IntentHash): Promise<CheckedSpend> {
    const live = this.#require(hash);
    if (live.voiding) throw new CairnError("wrong-state", "this node gave the spend up", { intent: hash });
    if (live.reserved && live.checked !== null) return live.checked;
    const check = await this.#check(live.intent);
    if (check.kind !== "ok") {
      throw new CairnError(check.kind === "wait" ? "chain-unavailable" : "psbt-invalid", check.message, {
        reason: check.code,
      });
    }
    return this.#modules.loop.run((batch) => {
      const current = this.#require(hash);
      if (current.voiding)
        throw new CairnError("wrong-state", "this node gave the spend up", { intent: hash });
      batch.put(this.#live, hash, { ...current, checked: check.checked });
      const verdict = this.#judge(hash, check);
      if (verdict.kind === "approve") this.#reserve(batch, hash);
      else if (verdict.kind === "reject") {
        throw new CairnError("policy-denied", "this node's policy does not allow the spend", {
          rule: verdict.code,
        });
      } else {
        throw new CairnError("coin-reserved", "another spend holds its coins or limits", {
          reason: verdict.code,
        });
      }
      return check.checked;
    });
  }

  /** The input of a spend under way that `sighash` is signed for, as this node read it itself, or null. */
  signingItem(sighash: string): SpendSigningItem | null {
    for (const { intent, checked } of this.#live.values()) {
      const input = checked?.inputs.find((entry) => toHex(entry.sighash.digest) === sighash);
      if (input === undefined) continue;
      const { keyId } = this.#modules.wallets.get(intent.wallet).row;
      return { keyId, path: [input.path[0], input.path[1]], preimage: input.sighash.preimage };
    }
    return null;
  }

  /** The grant of a certified spend that this node has read itself, and what it holds in favour of it. */
  grantOf(hash: IntentHash): { readonly grant: Grant; readonly evidence: GrantEvidence } | null {
    const live = this.#live.get(hash);
    if (live === undefined || live.checked === null) return null;
    const source = {
      intent: live.intent,
      manifest: this.#options.manifest,
      wallet: this.#modules.wallets.get(live.intent.wallet).signed.record,
      inputs: live.checked.inputs.map(({ sighash, path, outpoint, amountSats }): Grant["inputs"][number] => ({
        sighash: toHex(sighash.digest) as Grant["inputs"][number]["sighash"],
        path: [path[0], path[1]],
        outpoint,
        amountSats,
      })),
    };
    const { certificate, signedTx, firstSeenAt } = live.row;
    return {
      grant: deriveGrant(source),
      evidence: {
        ...source,
        manifestHash: this.#options.manifestHash,
        firstSeenAt,
        standing: live.voiding || signedTx !== null ? "ended" : "live",
        certificate: certificate === null ? null : decodeCanonical(certificateSchema, certificate),
      },
    };
  }

  /** Takes signatures that a session made or a peer sent; what does not verify throws and changes nothing. */
  signed(
    batch: Batch,
    hash: IntentHash,
    signatures: readonly Uint8Array[],
    signers: readonly NodeIndex[],
    own: boolean,
  ): void {
    const live = this.#require(hash);
    if (live.row.signedTx !== null) return;
    if (live.checked === null)
      throw new CairnError("wrong-state", "the spend was not checked here", { intent: hash });
    const final = finalizeSpend(live.checked, signatures);
    const now = this.#modules.clock.now();
    this.update(batch, hash, { state: "signed", signedTx: final.hex, reason: null }, (metadata) => ({
      ...metadata,
      signers,
      timings: { ...metadata.timings, signed: now - live.row.createdAt },
    }));
    batch.audit("transaction-signed", hash, { txid: final.txid, signers: signers.join(",") });
    this.#step(batch, hash, { kind: "submitted" });
    if (own) {
      const body = { version: 1, intentHash: hash, signers, signatures };
      batch.post(this.#others(), `final/${hash}`, message("final", encodeCanonical(body)));
    }
    batch.afterwards(() => this.#modules.signed(hash));
  }

  /** Changes a spend's row. */
  update(
    batch: Batch,
    hash: IntentHash,
    change: Partial<TransactionRow>,
    metadata?: (before: SpendMetadata) => SpendMetadata,
  ): void {
    const live = this.#require(hash);
    const described =
      metadata === undefined ? {} : { metadata: writeMetadata(metadata(readMetadata(live.row.metadata))) };
    const row = { ...live.row, ...change, ...described, updatedAt: this.#modules.clock.now() };
    batch.put(this.#live, hash, { ...live, row });
    batch.write({ write: "transaction", row });
    batch.afterwards(() => this.#modules.changed(row));
  }

  /** The chain holds the transaction. */
  confirmed(batch: Batch, hash: IntentHash): void {
    this.#step(batch, hash, { kind: "confirmed" });
  }

  /** A reorganisation took it out again. */
  unconfirmed(batch: Batch, hash: IntentHash): void {
    this.#step(batch, hash, { kind: "unconfirmed" });
  }

  /** Another transaction spends one of its coins. */
  conflicted(batch: Batch, hash: IntentHash, depth: number): void {
    this.#step(batch, hash, { kind: "conflicted", depth });
  }

  /** Six deep: limits stay counted for their window, all else of the lineage is over. */
  settle(batch: Batch, hash: IntentHash): void {
    const now = this.#modules.clock.now();
    const { book, row } = settlePaid(this.#book.value, hash, now);
    batch.assign(this.#book, book);
    if (row !== null) batch.write({ write: "reservation", row });
    const lineage = this.#require(hash).row.lineage;
    for (const [other, live] of [...this.#live]) {
      if (other === hash || live.row.lineage !== lineage) continue;
      // This node may have approved only the other one: quorums overlap, so it can't be certified beside what was paid.
      const freed = markDead(this.#book.value, other, now);
      batch.assign(this.#book, freed.book);
      if (freed.row !== null) batch.write({ write: "reservation", row: freed.row });
      this.update(batch, other, { state: "replaced", reason: "replaced" });
      batch.remove(this.#live, other);
    }
    batch.remove(this.#live, hash);
    batch.afterwards(() => this.#unblock());
  }

  async #submit(
    hash: RequestHash,
    request: SpendRequest,
    signature: SignatureHex | null,
  ): Promise<TransactionRow> {
    const known = await this.#modules.store.transactionOfRequest(hash);
    if (known !== null) return known;
    const { manifest, manifestHash } = this.#options;
    const now = this.#modules.clock.now();
    if (request.expiry <= now) {
      throw new CairnError("expired", "the request has expired; sign a new one", {
        expiry: request.expiry,
        now,
      });
    }
    const draft: Intent = {
      version: 1,
      cluster: manifest.cluster,
      request: { body: request, signature },
      psbt: Uint8Array.of(0),
      wallet: request.wallet,
      manifestHash,
      policyVersion: manifest.policyVersion,
      protocolVersion: Math.max(
        ...this.#options.protocolVersions.filter((version) => manifest.protocolVersions.includes(version)),
      ),
      createdAt: now,
    };
    checkIntent(draft, { ...this.#rules(), ...this.#versions(), now });
    const intent: Intent = { ...draft, psbt: new Uint8Array(await this.#build(request)) };
    return this.#insert(intent, intentHash(intent), this.#options.me);
  }

  /** Chooses coins that nothing else at this node wants, and builds the PSBT. */
  async #build(request: SpendRequest): Promise<Uint8Array> {
    const { chain, wallets, random } = this.#modules;
    const { descriptor } = wallets.get(request.wallet);
    const recipients = request.outputs.map(({ address, amountSats }) => ({
      script: decodeAddress(address, request.network).script,
      amountSats,
    }));
    const [tip, view, estimates] = await Promise.all([
      chain.tip(),
      wallets.view(request.wallet, 0),
      request.feeRateSatsPerKvb === null ? chain.feeEstimates() : [],
    ]);
    const lineage = await this.#lineage(request);
    const taken = new Set<string>();
    const ours: WalletCoin[] = [];
    for (const { row } of this.#live.values()) {
      if (row.state === "rejected" || row.wallet !== request.wallet) continue;
      const coins = row.outpoints.map(outpointText);
      if (row.lineage !== lineage) for (const coin of coins) taken.add(coin);
      else ours.push(...view.coins.filter((coin) => coins.includes(outpointText(coin.outpoint))).slice(0, 1));
    }
    for (const row of this.#book.value.rows.values()) {
      if (row.freedAt !== null || row.lineage === lineage) continue;
      for (const entry of row.intents) {
        if (!entry.dead) for (const outpoint of entry.outpoints) taken.add(outpointText(outpoint));
      }
    }
    const change = deriveKey(descriptor, [1, view.nextChangeIndex]);
    const selection = selectCoins(
      {
        kind: descriptor.kind,
        coins: view.coins.filter((coin) => !taken.has(outpointText(coin.outpoint))),
        required: ours,
        recipients,
        changeScript: change.script,
        feeRate:
          request.feeRateSatsPerKvb === null
            ? pickFeeRate(estimates, FEE_TARGET_BLOCKS, { fallback: FALLBACK_RATE, ceiling: RATE_CEILING })
            : feeRatePerKvb(BigInt(request.feeRateSatsPerKvb)),
        maxFeeSats: request.maxFeeSats,
      },
      { random },
    );
    return encodePsbt(
      buildPsbt({
        descriptor,
        coins: selection.coins.map(({ previousTransaction, outpoint, path }) => ({
          previousTransaction,
          vout: outpoint.vout,
          path,
        })),
        recipients,
        change:
          selection.changeSats === undefined
            ? undefined
            : { amountSats: selection.changeSats, index: view.nextChangeIndex, position: recipients.length },
        lockTime: tip.height,
      }),
    );
  }

  /** @throws CairnError `not-found` when what the request replaces is not known here */
  async #lineage(request: SpendRequest): Promise<LineageId> {
    const known = new Map<RequestHash, SpendRequest>();
    for (;;) {
      const lineage = lineageOf(request, (hash) => known.get(hash));
      if (lineage.kind === "known") return lineage.lineage;
      const row = await this.#modules.store.transactionOfRequest(lineage.missing);
      if (row === null) {
        throw new CairnError(
          "not-found",
          "the request replaces one that this node does not know; ask the node that took it",
          { replaces: lineage.missing },
        );
      }
      known.set(lineage.missing, decodeCanonical(intentSchema, row.intentBody).request.body);
    }
  }

  /** Spends that may still change: under way, not yet settled, or ended while this node still holds something for them. */
  async #unsettled(): Promise<readonly TransactionRow[]> {
    const { store } = this.#modules;
    const rows = new Map<IntentHash, TransactionRow>();
    for (const row of await store.transactions({ states: openStates, limit: MAX_RESTORED }))
      rows.set(row.intent, row);
    for (const row of await store.transactions({ states: ["confirmed"], limit: MAX_RECENT })) {
      if (row.confirmations < SETTLED_DEPTH) rows.set(row.intent, row);
    }
    for (const { freedAt, intents } of this.#book.value.rows.values()) {
      for (const { intent, dead } of freedAt === null ? intents : []) {
        if (dead || rows.has(intent)) continue;
        const row = await store.transaction({ intent });
        if (row !== null) rows.set(intent, row);
      }
    }
    return [...rows.values()];
  }

  async #insert(intent: Intent, hash: IntentHash, from: NodeIndex): Promise<TransactionRow> {
    const request = intent.request.body;
    const { transaction } = parsePsbt(intent.psbt);
    const outpoints = transaction.inputs.map(({ txid, vout }) => ({ txid, vout }));
    const recipients = request.outputs.reduce((sum, output) => sum + output.amountSats, 0n);
    const lineage = await this.#lineage(request).catch((error: unknown) => {
      if (from === this.#options.me || !isCairnError(error, "not-found")) throw error;
      throw new CairnError("busy", "what the request replaces is not here yet; send the intent again", {
        intent: hash,
      });
    });
    const now = this.#modules.clock.now();
    const votes = await this.#modules.store.votes(hash);
    return this.#modules.loop.run((batch) => {
      const known = this.#live.get(hash);
      if (known !== undefined) return known.row;
      const own = from === this.#options.me;
      if (own) this.#refuseSharedCoins(outpoints.map(outpointText), lineage);
      const row: TransactionRow = {
        intent: hash,
        txid: unsignedTransactionId(transaction) as Txid,
        request: spendRequestHash(request),
        lineage,
        wallet: intent.wallet,
        state: "pending",
        reason: null,
        intentBody: encodeCanonical(intent),
        certificate: null,
        signedTx: null,
        recipient: request.outputs[0]?.address ?? "",
        amountSats: recipients as Sats,
        feeSats: 0n as Sats,
        outpoints,
        metadata: writeMetadata({ receiver: from, signers: [], timings: {} }),
        createdAt: intent.createdAt,
        updatedAt: now,
        expiry: request.expiry,
        firstSeenAt: now,
        confirmedAt: null,
        confirmations: 0,
        blockHeight: null,
        blockHash: null,
      };
      batch.put(this.#live, hash, {
        intent,
        row,
        voting: initial({ intent: hash, expiry: request.expiry }),
        checked: null,
        reserved: false,
        voiding: false,
      });
      batch.write({ write: "transaction", row });
      batch.audit("intent-stored", hash, { from, request: row.request, txid: row.txid });
      if (own) batch.post(this.#others(), `intent/${hash}`, message("intent", row.intentBody));
      batch.afterwards(() => this.#modules.changed(row));
      this.#step(batch, hash, { kind: "open" });
      for (const vote of votes) {
        const signed = decodeCanonical(signedVoteSchema, vote.body);
        this.#step(batch, hash, { kind: "vote", from: vote.voter, vote: signed }, true);
      }
      for (const { from: sender, event } of this.#early.get(hash) ?? []) {
        batch.put(this.#earlyOf, sender, (this.#earlyOf.get(sender) ?? 1) - 1);
        this.#step(batch, hash, event, event.kind === "vote");
      }
      batch.remove(this.#early, hash);
      return row;
    });
  }

  /** One peer must not fill this node's memory, nor wear it out with variants of one request. */
  #checkQuota(from: NodeIndex, request: RequestHash): void {
    let open = 0;
    let same = 0;
    for (const { row } of this.#live.values()) {
      if (row.certificate !== null || readMetadata(row.metadata).receiver !== from) continue;
      open += 1;
      if (row.request === request) same += 1;
    }
    if (same >= MAX_OPEN_PER_REQUEST) {
      throw new CairnError("rate-limited", "the node made too many intents of one request", { node: from });
    }
    if (open >= MAX_OPEN_PER_PEER) {
      throw new CairnError("busy", "too many intents of that node are open here; send it again later", {
        node: from,
      });
    }
  }

  /** Whether a peer's signed word verifies; a signature that does not is named. @throws what else `check` throws */
  async #genuine(from: NodeIndex, hash: IntentHash, check: () => void): Promise<boolean> {
    try {
      check();
      return true;
    } catch (error) {
      if (!isCairnError(error, "signature-invalid")) throw error;
      await this.#modules.loop.run((batch) =>
        this.#modules.violation(batch, { type: "InvalidSignature", node: from, evidence: null }, hash),
      );
      return false;
    }
  }

  /** Whether every honest node finds the intent faulty, for ever. What may be this node's own lag is no such fault. */
  #isMalformed(intent: Intent): boolean {
    try {
      checkIntentForm(intent, this.#rules());
      return false;
    } catch (error) {
      if (!isCairnError(error)) throw error;
      return error.code !== "wrong-manifest" && error.code !== "wrong-policy";
    }
  }

  /** Remembers an intent whose fault everybody can see, and names those who have approved it. */
  #faultFound(batch: Batch, hash: IntentHash, intent: Intent): void {
    if (this.#faulty.has(hash)) return;
    batch.put(this.#faulty, hash, intent);
    const [oldest] = this.#faulty.keys();
    if (this.#faulty.size > MAX_FAULTY && oldest !== undefined) batch.remove(this.#faulty, oldest);
    const votes = this.#live.get(hash)?.voting.tally.votes ?? new Map();
    const early = (this.#early.get(hash) ?? []).flatMap(({ event }) =>
      event.kind === "vote" ? [event.vote] : [],
    );
    this.#accuse(batch, hash, intent, [
      ...[...votes.values()].flatMap((round) => [...round.values()]),
      ...early,
    ]);
  }

  /** An honest node checks before it approves (architecture §6, MinorityVote). Whatever third parties could not see is no fault. */
  #accuse(batch: Batch, hash: IntentHash, intent: Intent, votes: readonly SignedVote[]): void {
    for (const vote of votes) {
      if (!vote.body.approve || vote.body.voter === this.#options.me) continue;
      const evidence: Evidence = { type: "MinorityVote", version: 1, intent, vote };
      if (!this.#modules.proves(evidence)) continue;
      this.#modules.violation(batch, { type: "MinorityVote", node: vote.body.voter, evidence }, hash);
    }
  }

  /** Two requests that reach this node at once must not choose the same coins. */
  #refuseSharedCoins(coins: readonly string[], lineage: LineageId): void {
    for (const { row } of this.#live.values()) {
      if (row.lineage === lineage || row.state === "rejected") continue;
      if (!row.outpoints.some((outpoint) => coins.includes(outpointText(outpoint)))) continue;
      throw new CairnError("coin-reserved", "another request took these coins just now; ask again", {
        by: row.intent,
      });
    }
  }

  /** Feeds an event to the machine of an intent; keeps it a while when the intent has not arrived yet. */
  async #feed(hash: IntentHash, from: NodeIndex, event: VotingEvent): Promise<void> {
    if (!this.#live.has(hash) && (await this.#modules.store.transaction({ intent: hash })) !== null) return;
    await this.#modules.loop.run((batch) => {
      if (this.#live.has(hash)) return this.#step(batch, hash, event);
      this.#keepEarly(batch, hash, from, event);
    });
  }

  #keepEarly(batch: Batch, hash: IntentHash, from: NodeIndex, event: VotingEvent): void {
    const kept = this.#early.get(hash) ?? [];
    const again = (other: VotingEvent) =>
      other.kind === event.kind &&
      (event.kind !== "vote" || (other.kind === "vote" && sameVote(other.vote.body, event.vote.body)));
    if (kept.some((entry) => entry.from === from && again(entry.event))) return;
    const now = this.#modules.clock.now();
    if ((this.#earlyOf.get(from) ?? 0) >= MAX_EARLY_PER_PEER) this.#forgetEarly(batch, from, now);
    const count = this.#earlyOf.get(from) ?? 0;
    if (count >= MAX_EARLY_PER_PEER) {
      throw new CairnError("rate-limited", "too many messages about intents that are not known here", {
        node: from,
      });
    }
    // The store keeps one vote of a voter and round; a second one that differs is evidence as soon as the intent is here.
    if (event.kind === "vote" && !kept.some((entry) => isVoteOf(entry.event, event.vote)))
      this.#writeVote(batch, event.vote);
    batch.put(this.#earlyOf, from, count + 1);
    batch.put(this.#early, hash, [...kept, { from, event, at: now }]);
  }

  /** What never found its intent makes room. */
  #forgetEarly(batch: Batch, from: NodeIndex, now: UnixMs): void {
    let count = 0;
    for (const [hash, kept] of this.#early) {
      const left = kept.filter((entry) => entry.from !== from || entry.at + EARLY_MS > now);
      count += left.filter((entry) => entry.from === from).length;
      if (left.length === kept.length) continue;
      if (left.length === 0) batch.remove(this.#early, hash);
      else batch.put(this.#early, hash, left);
    }
    batch.put(this.#earlyOf, from, count);
  }

  /** @param stored the vote in `event` has its row already: it came before its intent */
  #step(batch: Batch, hash: IntentHash, event: VotingEvent, stored = false): void {
    const live = this.#live.get(hash);
    if (live === undefined) return;
    const { state, effects } = step(live.voting, event, this.#context());
    if (!stored) this.#persistTally(batch, live.voting, state);
    batch.put(this.#live, hash, { ...live, voting: state });
    this.#carryOut(batch, hash, effects);
  }

  /** Stores the votes and voids that a step took in. */
  #persistTally(batch: Batch, before: VotingState, after: VotingState): void {
    if (before.tally === after.tally) return;
    for (const [round, votes] of after.tally.votes) {
      const known = before.tally.votes.get(round);
      for (const [voter, vote] of votes) if (known?.has(voter) !== true) this.#writeVote(batch, vote);
    }
    for (const [node, signed] of after.tally.voids) {
      if (before.tally.voids.has(node)) continue;
      batch.write({
        write: "void",
        row: { intent: signed.body.intentHash, node, body: encodeCanonical(signed) },
      });
    }
  }

  #writeVote(batch: Batch, vote: SignedVote): void {
    const { intentHash: intent, round, voter, approve, reason } = vote.body;
    batch.write({
      write: "vote",
      row: {
        intent,
        round,
        voter,
        approve,
        reason: reason?.code ?? null,
        signature: vote.signature,
        body: encodeCanonical(vote),
        receivedAt: this.#modules.clock.now(),
      },
    });
  }

  #carryOut(batch: Batch, hash: IntentHash, effects: readonly VotingEffect[]): void {
    for (const effect of effects) this.#effect(batch, hash, effect);
  }

  #effect(batch: Batch, hash: IntentHash, effect: VotingEffect): void {
    const { clock } = this.#modules;
    switch (effect.kind) {
      case "evaluate":
        return batch.afterwards(() => this.#later(this.#evaluate(hash, effect.round)));
      case "cast":
        return this.#cast(batch, hash, effect);
      case "defer-notice": {
        const deferral: Deferral = {
          version: 1,
          cluster: this.#options.manifest.cluster,
          intentHash: hash,
          round: effect.round,
          node: this.#options.me,
          code: effect.code,
          blocking: [...effect.blocking],
        };
        batch.audit("vote-deferred", hash, { round: effect.round, code: effect.code });
        batch.send(this.#others(), message("deferral", encodeCanonical(deferral)));
        clock.after(this.#options.recheckMs, () => this.#later(this.#feedOwn(hash, { kind: "unblocked" })));
        return this.update(batch, hash, { reason: effect.code });
      }
      case "certified":
        return this.#certified(batch, hash, effect.certificate);
      case "rejected":
        batch.audit("intent-rejected", hash, {
          reasons: effect.reasons.map(({ node, reason }) => `${node}:${reason.code}`).join(","),
        });
        return this.update(batch, hash, { reason: effect.reasons[0]?.reason.code ?? null });
      case "sign-void":
        batch.put(this.#live, hash, { ...this.#require(hash), voiding: true });
        return batch.afterwards(() => this.#later(this.#void(hash)));
      case "displace":
        return batch.afterwards(() => {
          for (const loser of effect.losers)
            this.#later(this.#feedOwn(loser, { kind: "displaced", by: hash }));
        });
      case "dead":
        return this.#dead(batch, hash);
      case "violation":
        return this.#modules.violation(batch, effect, hash);
      case "round":
        if (effect.row.round > FIRST_ROUND && effect.row.outcome === "open") this.#relay(batch, hash);
        return batch.write({ write: "voting-round", row: effect.row });
      case "arm":
        return batch.afterwards(() => {
          atTime(clock, effect.at, () => this.#later(this.#feedOwn(hash, { kind: "tick" })));
        });
      case "state":
        return this.#named(batch, hash, effect.name);
    }
  }

  #named(batch: Batch, hash: IntentHash, name: VotingState["name"]): void {
    const live = this.#require(hash);
    const state =
      live.voting.name === "AbortedTimeout" && live.voting.cause === "expired" ? "expired" : rowStates[name];
    batch.audit("voting-state", hash, { state: name });
    // Death frees what a spend held; what it ended of is still what people want to read.
    const explained = (name === "Dead" || name === "Voided") && endedStates.has(live.row.state);
    if (state !== null && !explained) this.update(batch, hash, { state });
  }

  async #evaluate(hash: IntentHash, round: number): Promise<void> {
    const check = await this.#check(this.#require(hash).intent);
    await this.#modules.loop.run((batch) => {
      const live = this.#live.get(hash);
      if (live === undefined) return;
      if (check.kind === "ok") {
        batch.put(this.#live, hash, { ...live, checked: check.checked });
        this.update(batch, hash, { feeSats: check.checked.feeSats });
      }
      if (check.kind === "fault") this.#faultFound(batch, hash, live.intent);
      this.#step(batch, hash, { kind: "verdict", round, verdict: this.#judge(hash, check) });
    });
  }

  #check(intent: Intent): Promise<SpendCheck> {
    return checkSpend(intent, { chain: this.#modules.chain, wallets: this.#modules.wallets });
  }

  /** Reads a spend's PSBT for its signatures, whatever its policy says. */
  async #read(hash: IntentHash): Promise<CheckedSpend | null> {
    const check = await this.#check(this.#require(hash).intent);
    if (check.kind !== "ok") return null;
    await this.#modules.loop.run((batch) => {
      const live = this.#live.get(hash);
      if (live !== undefined) batch.put(this.#live, hash, { ...live, checked: check.checked });
    });
    return check.checked;
  }

  /** Policy and reservations, against memory as it is now. */
  #judge(hash: IntentHash, check: SpendCheck): Verdict {
    if (check.kind === "fault") return { kind: "reject", code: check.code, blocking: [] };
    if (check.kind === "wait") return { kind: "defer", code: check.code, blocking: [] };
    const live = this.#require(hash);
    const policy = evaluate(this.#options.policy, {
      history: historyOf(this.#book.value, (intent) => this.#firm(intent)),
      request: live.intent.request.body,
      lineage: live.row.lineage,
      feeSats: check.checked.feeSats,
      vbytes: check.checked.vsize,
      approvals: [],
      now: this.#modules.clock.now(),
    });
    const strictest = policy.rules.find((rule) => rule.decision === policy.decision);
    if (policy.decision === "deny")
      return { kind: "reject", code: `policy-${strictest?.rule ?? "denied"}`, blocking: [] };
    if (policy.decision === "wait") {
      const blocking = policy.rules.flatMap((rule) => rule.blocking).map((intent) => this.#blocker(intent));
      return { kind: "defer", code: `policy-${strictest?.rule ?? "waits"}`, blocking };
    }
    const claimed = reserve(this.#book.value, this.#claim(live));
    if (claimed.kind === "refused") return { kind: "reject", code: claimed.code, blocking: [] };
    if (claimed.kind === "conflict") {
      return {
        kind: "defer",
        code: claimed.code,
        blocking: claimed.blocking.map((intent) => this.#blocker(intent)),
      };
    }
    return { kind: "approve" };
  }

  #blocker(intent: IntentHash) {
    return { intent, certified: this.#firm(intent) };
  }

  /** Whether an intent never gives way: certified here, or signed. */
  #firm(intent: IntentHash): boolean {
    const row = this.#live.get(intent)?.row;
    return row === undefined || row.certificate !== null || row.signedTx !== null;
  }

  #claim(live: LiveSpend) {
    const request = live.intent.request.body;
    return {
      lineage: live.row.lineage,
      wallet: live.row.wallet,
      intent: live.row.intent,
      outpoints: live.row.outpoints,
      amountSats: (live.row.amountSats + request.maxFeeSats) as Sats,
      destinations: request.outputs,
      at: this.#modules.clock.now(),
    };
  }

  /** Holds limits and coins for a spend, in the batch of the vote or Ack that implies it. */
  #reserve(batch: Batch, hash: IntentHash): void {
    const live = this.#require(hash);
    const claimed = reserve(this.#book.value, this.#claim(live));
    if (claimed.kind !== "reserved") {
      throw new CairnError("coin-reserved", "another spend holds its coins", { intent: hash });
    }
    batch.assign(this.#book, claimed.book);
    batch.write({ write: "reservation", row: claimed.row });
    batch.put(this.#live, hash, { ...live, reserved: true });
  }

  #cast(batch: Batch, hash: IntentHash, effect: Extract<VotingEffect, { kind: "cast" }>): void {
    const { manifest, manifestHash, me } = this.#options;
    if (effect.approve) this.#reserve(batch, hash);
    const vote = signVote(
      {
        version: 1,
        cluster: manifest.cluster,
        manifestHash,
        intentHash: hash,
        round: effect.round,
        voter: me,
        approve: effect.approve,
        reason: effect.reason,
      },
      this.#modules.signer,
    );
    batch.audit("vote-cast", hash, {
      round: effect.round,
      approve: effect.approve,
      reason: effect.reason?.code ?? null,
    });
    batch.post(this.#others(), `vote/${hash}/${effect.round}`, message("vote", encodeCanonical(vote)));
    // The machine takes the vote in within the same commit, so the row, the reservation and the outbox are one.
    this.#step(batch, hash, { kind: "vote", from: me, vote });
  }

  #certified(batch: Batch, hash: IntentHash, certificate: Certificate): void {
    const body = encodeCanonical(certificate);
    const now = this.#modules.clock.now();
    batch.audit("certified", hash, {
      round: certificate.round,
      voters: certificate.votes.map((vote) => vote.voter).join(","),
    });
    batch.post(this.#others(), `certificate/${hash}`, message("certificate", body));
    const live = this.#require(hash);
    const { createdAt, signedTx } = live.row;
    // It may be paid whatever this node thinks of it, so its coins and limits count here too.
    const recorded = recordCertified(this.#book.value, this.#claim(live));
    batch.assign(this.#book, recorded.book);
    if (recorded.row !== null) batch.write({ write: "reservation", row: recorded.row });
    const state = signedTx === null ? { state: "approved" as const, reason: null } : {};
    this.update(batch, hash, { certificate: body, ...state }, (metadata) => ({
      ...metadata,
      timings: { ...metadata.timings, certified: now - createdAt },
    }));
    batch.afterwards(() => this.#modules.certified(hash));
  }

  /**
   * Hands an intent that finds no quorum to all: its receiver may have kept it from some, whose votes would settle it, or whose
   * voids would free what it holds.
   */
  #relay(batch: Batch, hash: IntentHash): void {
    const { intentBody } = this.#require(hash).row;
    batch.post(this.#others(), `intent/${hash}`, message("intent", intentBody));
  }

  /** Signs `Void` where this node never released a partial for the spend, nor may have. */
  async #void(hash: IntentHash): Promise<void> {
    const { store, loop, signer } = this.#modules;
    const { manifest, manifestHash, me } = this.#options;
    // The grant's id follows from the intent alone, so what an earlier process did counts even before the PSBT is read again.
    const sessions = await store.sessions({ subject: grantIdOf(hash) });
    const part = {
      partialReleased: false,
      partialPossible: sessions.some((session) => session.execution !== null),
      sessionLive: this.#modules.signing(hash),
    };
    if (!mayVoid(part)) return;
    await loop.run((batch) => {
      const live = this.#live.get(hash);
      if (live === undefined || live.voting.tally.voids.has(me)) return;
      const signed: SignedVoid = signVoid(
        { version: 1, cluster: manifest.cluster, manifestHash, intentHash: hash, node: me },
        signer,
      );
      batch.audit("void-signed", hash);
      batch.post(this.#others(), `void/${hash}`, message("void", encodeCanonical(signed)));
      this.#relay(batch, hash);
      this.#step(batch, hash, { kind: "void", from: me, void: signed });
    });
  }

  #dead(batch: Batch, hash: IntentHash): void {
    const { book, row } = markDead(this.#book.value, hash, this.#modules.clock.now());
    batch.assign(this.#book, book);
    if (row !== null) batch.write({ write: "reservation", row });
    batch.audit("intent-dead", hash);
    batch.remove(this.#live, hash);
    batch.afterwards(() => this.#unblock());
  }

  #unblock(): void {
    for (const [hash, { voting }] of this.#live) {
      if (voting.name === "Collecting" && voting.own.kind === "deferred") {
        this.#later(this.#feedOwn(hash, { kind: "unblocked" }));
      }
    }
  }

  #feedOwn(hash: IntentHash, event: VotingEvent): Promise<void> {
    return this.#modules.loop.run((batch) => this.#step(batch, hash, event));
  }

  #later(work: Promise<void>): void {
    work.catch((cause: unknown) => {
      if (!isCairnError(cause, "closed")) this.#modules.report(cause);
    });
  }

  #context(): VotingContext {
    return {
      now: this.#modules.clock.now(),
      me: this.#options.me,
      roundMs: this.#options.roundMs,
      ...this.#rules(),
    };
  }

  #rules() {
    return { manifest: this.#options.manifest, manifestHash: this.#options.manifestHash };
  }

  #versions() {
    return {
      policyVersion: this.#options.policy.policyVersion,
      protocolVersions: this.#options.protocolVersions,
      clockSkewMs: this.#options.clockSkewMs,
    };
  }

  #require(hash: IntentHash): LiveSpend {
    const live = this.#live.get(hash);
    if (live === undefined)
      throw new CairnError("not-found", "this node knows no such live spend", { intent: hash });
    return live;
  }

  #others(): NodeIndex[] {
    return this.#options.manifest.members
      .map(({ index }) => index)
      .filter((index) => index !== this.#options.me);
  }
}

/** Whether the event is a vote of the same voter and round. */
function isVoteOf(event: VotingEvent, { body }: SignedVote): boolean {
  return (
    event.kind === "vote" && event.vote.body.voter === body.voter && event.vote.body.round === body.round
  );
}

function message(kind: PeerMessage["kind"], payload: Uint8Array): PeerMessage {
  return { kind, session: null, round: 0, payload, trace: null };
}
