import type { Evidence } from "@cairn/consensus";
import {
  CairnError,
  isCairnError,
  type KeyId,
  type NodeIndex,
  type PeerStatus,
  type RequestHash,
  type SessionId,
  type SetBack,
  type SignatureHex,
  type SignedKeygenRequest,
  type SignedSpendApproval,
  type SpendRequest,
  type StoreWrite,
  spendRequestHash,
  type Timer,
  type TransactionRow,
} from "@cairn/core";
import { type PolicyVerdict, policyHash } from "@cairn/policy";
import {
  type AttemptLedger,
  emptyLedger,
  emptyStanding,
  pruneLedger,
  type SessionViolation,
} from "@cairn/signing";
import { AuditQuota } from "./audit-quota.ts";
import { BackupDesk } from "./backup-desk.ts";
import { BanDesk } from "./ban-desk.ts";
import { ChainWatch } from "./chain-watch.ts";
import { ChangeCatchUp } from "./change-catch-up.ts";
import { ChangeDesk } from "./change-desk.ts";
import { CheckpointDesk } from "./checkpoint-desk.ts";
import { Departures } from "./departures.ts";
import { FenceDesk, type SetBackAnswers } from "./fence-desk.ts";
import { GrantDesk } from "./grant-desk.ts";
import { InterruptedSessions } from "./interrupted-sessions.ts";
import { KeygenDesk } from "./keygen-desk.ts";
import { type AuditFact, type Batch, type Cell, Loop } from "./loop.ts";
import { ManifestBook } from "./manifest-book.ts";
import type { NodeEvent } from "./node-event.ts";
import { NodeEvents } from "./node-events.ts";
import { OwnFence } from "./own-fence.ts";
import { PeerInbox } from "./peer-inbox.ts";
import { PresignDesk } from "./presign-desk.ts";
import { Recollection } from "./recollection.ts";
import type { RuntimeModules, RuntimeOptions } from "./runtime-options.ts";
import { seenAttempts } from "./seen-attempts.ts";
import { SessionDesk } from "./session-desk.ts";
import { SignDesk } from "./sign-desk.ts";
import { SpendDesk } from "./spend-desk.ts";
import { SyncAnswers } from "./sync-answers.ts";
import { SyncDesk } from "./sync-desk.ts";
import { SyncQuestions } from "./sync-questions.ts";
import { unawaited } from "./unawaited.ts";
import { WalletBook } from "./wallet-book.ts";
import { wordsOf } from "./words-of.ts";

/** How often what has expired is forgotten, and how long after its expiry. */
const PRUNE_MS = 10 * 60_000;

/**
 * One node: the loop, the machines that it feeds, and the desks that carry out what they ask for. Everything that touches the
 * world comes in through a port, so a daemon and a simulation run the same code.
 */
export class NodeRuntime {
  readonly options: RuntimeOptions;
  readonly loop: Loop;
  readonly wallets: WalletBook;
  readonly spends: SpendDesk;
  readonly keys: KeygenDesk;
  readonly presignatures: PresignDesk;
  readonly sessions: SessionDesk;
  readonly bans: BanDesk;
  readonly backups: BackupDesk;
  /** What is and was in force. */
  readonly manifests: ManifestBook;
  readonly changes: ChangeDesk;
  readonly chain: ChainWatch;
  readonly grants: GrantDesk;
  readonly fence: FenceDesk;
  readonly checkpoints: CheckpointDesk;
  readonly #own: OwnFence;
  readonly #signing: SignDesk;
  readonly #departures: Departures;
  readonly #interrupted: InterruptedSessions;
  readonly #modules: RuntimeModules;
  readonly #ledger: Cell<AttemptLedger> = { value: emptyLedger };
  readonly #events: NodeEvents;
  readonly #inbox: PeerInbox;
  /** What peers hold that this node lacks. */
  readonly sync: SyncDesk;
  readonly #questions: SyncQuestions;
  readonly #catchUp: ChangeCatchUp;
  readonly #recollection: Recollection;
  #pruning: Timer | null = null;
  #closing = false;

  private constructor(options: RuntimeOptions, modules: RuntimeModules, book: ManifestBook) {
    this.options = options;
    this.#modules = modules;
    const { me, protocolVersions } = options;
    const { store, courier, engine, signer, clock, random, chain } = modules;
    this.manifests = book;
    const report = (cause: unknown) => this.#report(cause);
    this.#events = new NodeEvents({ clock, report });
    const loop = new Loop({ store, courier, audit: modules.audit, quota: new AuditQuota(clock), report });
    this.loop = loop;
    const forged = (batch: Batch, node: NodeIndex, subject: string) =>
      this.bans.violation(batch, { type: "InvalidSignature", node, subject, evidence: null });
    const setBack = (batch: Batch, node: NodeIndex, judged: SetBack, answers: SetBackAnswers | null) => {
      const { manifestHash } = book;
      const evidence: Evidence | null =
        answers === null
          ? null
          : { type: "Rollback", version: 1, manifestHash, answers: [answers[0], answers[1]] };
      this.bans.violation(batch, { type: "Rollback", node, subject: null, evidence });
      batch.afterwards(() => this.#events.emit("fence", String(node), "rolled-back", { judged }));
    };
    this.wallets = new WalletBook({ chain, clock });
    this.#recollection = new Recollection(book.manifest, { clock });
    this.grants = new GrantDesk({
      store,
      book,
      wallets: this.wallets,
      keys: { list: () => this.keys.list() },
      clock,
    });
    this.bans = new BanDesk(
      {
        me,
        book,
      },
      {
        loop,
        store,
        courier,
        signer,
        clock,
        detected: (row) => this.#events.emit("violation", String(row.node), row.type, { action: row.action }),
        banned: (row) => {
          this.#events.emit("ban", String(row.node), "banned", { until: row.until, scope: row.scope });
          this.sessions.dismiss(row.node);
        },
        lifted: (node) => this.#events.emit("ban", String(node), "lifted", {}),
        setBack: (node, earlier) => this.fence.hold(node, earlier),
        forgiven: (node, violation) => this.changes.forgives(node, violation),
      },
    );
    this.#own = new OwnFence(
      {
        me,
        epoch: options.epoch,
        book,
      },
      {
        loop,
        store,
        signer,
        clock,
        remembers: () => this.#recollection.isDone,
        changed: (state) => {
          this.#events.emit("fence", String(me), state, {});
          this.#peersChanged();
        },
      },
    );
    this.fence = new FenceDesk(
      {
        me,
        fenceMs: options.audit.fenceMs,
        book,
      },
      {
        loop,
        store,
        courier,
        own: this.#own,
        clock,
        random,
        current: (node) => {
          this.#peersChanged();
          this.sync.current(node);
        },
        setBack,
      },
    );
    this.checkpoints = new CheckpointDesk(
      { me, epoch: options.epoch, clockSkewMs: options.clockSkewMs, ...options.audit },
      {
        loop,
        store,
        courier,
        book,
        fence: this.fence,
        own: this.#own,
        signer,
        clock,
        report,
        forked: (batch, node, answers) => setBack(batch, node, "forked", answers),
        completed: ({ sequence }) => this.#events.emit("checkpoint", String(sequence), "complete", {}),
      },
    );
    this.sessions = new SessionDesk(
      {
        me,
        book,
      },
      {
        loop,
        store,
        courier,
        engine,
        signer,
        clock,
        random,
        report,
        publicPackage: (keyId) => this.keys.publicPackage(keyId),
        violation: (batch, violation, session) => this.#sessionViolation(batch, violation, session),
        changed: (row) =>
          this.#events.emit("session", row.session, row.state, {
            purpose: row.purpose,
            subject: row.subject,
            attempt: row.attempt,
            initiator: row.initiator,
            failure: row.failure,
          }),
      },
    );
    this.spends = new SpendDesk(
      {
        me,
        book,
        protocolVersions,
        clockSkewMs: options.clockSkewMs,
        roundMs: options.roundMs,
        recheckMs: options.recheckMs,
        anchorMs: options.audit.anchorMs,
      },
      {
        loop,
        store,
        chain,
        wallets: this.wallets,
        signer,
        clock,
        random,
        ...(modules.coinAdvice === undefined ? {} : { coinAdvice: modules.coinAdvice }),
        report,
        certified: (intent) => this.#signing.begin(intent),
        signed: (intent) => this.chain.publish(intent),
        signing: (intent) => this.#signing.signing(intent),
        underWay: (intent) => this.#signing.underWay(intent),
        admitted: () => this.#own.admitted(),
        recollection: this.#recollection,
        checkpoint: () => this.checkpoints.newest,
        violation: (batch, { type, node, evidence }, subject) =>
          this.bans.violation(batch, { type, node, evidence, subject }),
        proves: (evidence) => this.bans.proves(evidence),
        changed: (row) =>
          this.#events.emit("transaction", row.txid, row.state, {
            intent: row.intent,
            request: row.request,
            reason: row.reason,
            confirmations: row.confirmations,
          }),
      },
    );
    this.chain = new ChainWatch(
      { me, pollMs: options.pollMs },
      { loop, chain, clock, spends: this.spends, report, moved: () => this.presignatures.walletsMoved() },
    );
    const attempts = {
      ledger: this.#ledger,
      standing: { value: emptyStanding },
      driver: modules.driver,
      up: () => this.#up(),
      refused: () => new Set([...this.bans.refused(), ...this.fence.refused()]),
    };
    this.#signing = new SignDesk(
      {
        me,
        book,
        protocolVersions,
        attempts: options.attempts,
        timeouts: options.timeouts,
        grantWaitMs: options.grantWaitMs,
      },
      {
        loop,
        store,
        signer,
        clock,
        sessions: this.sessions,
        spends: this.spends,
        authorisation: modules.authorisation,
        key: (keyId) => this.keys.active(keyId),
        forged,
        report,
        ...attempts,
      },
    );
    this.keys = new KeygenDesk(
      {
        me,
        book,
        protocolVersions,
        clockSkewMs: options.clockSkewMs,
        attempts: options.attempts,
        timeouts: options.keygenTimeouts,
      },
      {
        loop,
        store,
        signer,
        clock,
        engine,
        sessions: this.sessions,
        wallets: this.wallets,
        forged,
        report,
        changed: ({ row, stage, progress }) =>
          this.#events.emit("key", row.keyId, row.status, {
            stage,
            progress,
            protocol: row.protocol,
            reason: row.reason,
          }),
        proposed: ({ row, request, standing, approvals }) =>
          this.#events.emit("change", row.keyId, standing, {
            type: "keygen",
            ...wordsOf(approvals),
            needed: request.body.total,
            reason: row.reason,
          }),
        ...attempts,
      },
    );
    this.backups = new BackupDesk({ me, book }, { loop, store, keys: this.keys });
    this.#departures = new Departures({
      clock,
      up: () => this.#connected(),
      departed: (node) => this.sessions.departed(node),
    });
    this.#interrupted = new InterruptedSessions(
      { me, manifest: book.manifest },
      { loop, store, signer, clock },
    );
    this.presignatures = new PresignDesk(
      {
        me,
        book,
        protocolVersions,
        attempts: options.attempts,
        timeouts: options.timeouts,
        inventory: options.inventory,
      },
      {
        loop,
        store,
        signer,
        clock,
        sessions: this.sessions,
        wallets: this.wallets,
        keys: this.keys,
        report,
        changed: (keyId) => this.#events.emit("presignatures", keyId, "stock", {}),
        ...attempts,
      },
    );
    this.changes = new ChangeDesk(
      { me, clockSkewMs: options.clockSkewMs },
      {
        loop,
        store,
        signer,
        clock,
        book,
        liftBans: (batch, node, violations) => this.bans.lift(batch, node, violations),
        inForce: (link) => {
          modules.inForce(link);
          this.spends.policyChanged();
        },
        changed: (progress) =>
          this.#events.emit("change", progress.row.proposal, progress.standing, {
            type: progress.row.type,
            ...wordsOf(progress.votes.values()),
            needed: progress.needed,
            effectiveAt: progress.row.effectiveAt,
          }),
        report,
      },
    );
    this.#questions = new SyncQuestions({ courier, clock, random, book });
    this.#catchUp = new ChangeCatchUp({
      questions: this.#questions,
      clock,
      book,
      changes: this.changes,
      report,
    });
    this.sync = new SyncDesk(
      { me },
      {
        loop,
        store,
        clock,
        questions: this.#questions,
        catchUp: this.#catchUp,
        book,
        fence: this.fence,
        bans: this.bans,
        keys: this.keys,
        spends: this.spends.sync,
        recollection: this.#recollection,
        told: (node, state, count) => this.#events.emit("sync", String(node), state, { ...count }),
        recalled: () => {
          this.#events.emit("sync", String(me), "recalled", {});
          this.#own.review();
        },
        report,
      },
    );
    const answers = new SyncAnswers({
      courier,
      clock,
      book,
      changes: this.changes,
      keys: this.keys,
      bans: this.bans,
      spends: this.spends.shelf,
      report,
    });
    this.#inbox = new PeerInbox(me, {
      loop,
      fence: this.fence,
      checkpoints: this.checkpoints,
      signer,
      changes: this.changes,
      catchUp: this.#catchUp,
      questions: this.#questions,
      answers,
      backups: this.backups,
      bans: this.bans,
      spends: this.spends,
      keys: this.keys,
      presignatures: this.presignatures,
      sessions: this.sessions,
      signing: this.#signing,
      report,
    });
  }

  /**
   * Takes up what the store holds, begins to listen to peers and to follow the chain.
   * @throws CairnError `config-invalid` when policy and manifest differ; those of store and courier
   */
  static async start(options: RuntimeOptions, modules: RuntimeModules): Promise<NodeRuntime> {
    const { manifest, policy } = options;
    if (policyHash(policy) !== manifest.policy || policy.policyVersion !== manifest.policyVersion) {
      throw new CairnError(
        "config-invalid",
        "the policy document is not the one that the manifest pins; install the document that the operators agreed on",
        { policyVersion: policy.policyVersion, expected: manifest.policyVersion },
      );
    }
    if (policy.delayMs !== manifest.policyDelayMs) {
      throw new CairnError(
        "config-invalid",
        "the policy holds payments back for another time than the manifest says; have the operators agree on a policy and a manifest with the same delay",
        { delayMs: policy.delayMs, expected: manifest.policyDelayMs },
      );
    }
    const book = await ManifestBook.open(options, modules.store);
    const runtime = new NodeRuntime(options, modules, book);
    modules.inForce(book.current);
    await runtime.changes.restore();
    await runtime.#own.restore();
    await runtime.#recollection.restore(modules.store);
    await runtime.sync.restore();
    await runtime.fence.restore();
    await runtime.checkpoints.restore();
    await runtime.#interrupted.end();
    await runtime.bans.restore();
    await runtime.keys.restore();
    await runtime.backups.restore();
    await runtime.spends.restore();
    runtime.#ledger.value = await seenAttempts(modules.store, modules.clock.now(), options.inventory.checkMs);
    await modules.courier.start({
      message: (from, message) => runtime.#inbox.onMessage(from, message),
      peer: (status) => runtime.#onPeer(status),
      refused: (from, code) => runtime.#onRefused(from, code),
    });
    runtime.changes.resume();
    await runtime.spends.resume();
    runtime.keys.resume();
    runtime.presignatures.start();
    runtime.chain.start();
    runtime.checkpoints.start();
    runtime.#prune();
    return runtime;
  }

  /** Asks for a spend: see {@link SpendDesk.submit}. */
  async submit(request: SpendRequest, signature: SignatureHex | null): Promise<TransactionRow> {
    try {
      this.#own.refuseRolledBack();
      this.#refuseAmnesia();
      return await this.spends.submit(request, signature);
    } catch (error) {
      if (isCairnError(error)) {
        const { code } = error;
        const refused = this.loop.run((batch) =>
          batch.audit("request-refused", spendRequestHash(request), { code, requester: request.requester }),
        );
        unawaited(refused, (cause) => this.#report(cause));
      }
      throw error;
    }
  }

  /** Asks all nodes for a key. @throws CairnError with what is wrong with the request */
  async generateKey(request: SignedKeygenRequest): Promise<KeyId> {
    this.#own.refuseRolledBack();
    return this.keys.request(request);
  }

  /** Takes a person's approval: see {@link SpendDesk.takeApproval}. */
  takeApproval(signed: SignedSpendApproval): Promise<void> {
    return this.spends.takeApproval(signed);
  }

  dryRun(
    request: Pick<SpendRequest, "outputs" | "maxFeeSats">,
    hash: RequestHash | null = null,
  ): PolicyVerdict {
    return this.spends.dryRun(request, hash);
  }

  /** Makes an administrator's change of this node durable together with its audit entry. */
  record(write: StoreWrite, entry: AuditFact): Promise<void> {
    return this.loop.run((batch) => {
      batch.write(write);
      batch.audit(entry.kind, entry.subject, entry.data);
    });
  }

  /** Whether this node was set back to an older state, and so does nothing. */
  get rolledBack(): boolean {
    return this.#own.rolledBack;
  }

  peers(): readonly PeerStatus[] {
    return this.#modules.courier.peers();
  }

  /** Calls `listener` with every event from now on; the answer ends that. */
  subscribe(listener: (event: NodeEvent) => void): () => void {
    return this.#events.subscribe(listener);
  }

  /** Ends sessions, lets what is under way become durable, and stops. Idempotent. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#pruning?.cancel();
    await this.chain.close();
    this.#signing.close();
    this.keys.close();
    this.presignatures.close();
    this.bans.close();
    this.changes.close();
    this.#departures.close();
    this.fence.close();
    this.checkpoints.close();
    this.sync.close();
    this.#questions.close();
    await this.sessions.close();
    await this.loop.close(new CairnError("closed", "the node is stopping"));
  }

  /** Forgets subjects that nobody may propose for any more, and approvals that have expired. */
  #prune(): void {
    if (this.#closing) return;
    unawaited(this.spends.prune(), (cause) => this.#report(cause));
    this.#ledger.value = pruneLedger(this.#ledger.value, this.#modules.clock.now(), PRUNE_MS);
    this.#pruning = this.#modules.clock.after(PRUNE_MS, () => this.#prune());
  }

  /** Passes on what fails unawaited, but for what the node's own stop refuses. */
  #report(cause: unknown): void {
    if (!this.#closing || !isCairnError(cause, "closed")) this.#modules.report(cause);
  }

  #onPeer(status: PeerStatus): void {
    this.#events.emit("peer", String(status.node), status.up ? "up" : "down", { error: status.lastError });
    this.#departures.peer(status);
    this.fence.peer(status);
    this.#questions.peer(status.node, status.up);
    if (!status.up) return;
    this.#catchUp.ask(status.node);
    unawaited(this.backups.peerUp(status.node), (cause) => this.#report(cause));
    unawaited(this.#interrupted.peerUp(status.node), (cause) => this.#report(cause));
  }

  /** Before it has asked what its peers hold, this node does not know what it made of a request earlier. */
  #refuseAmnesia(): void {
    if (this.#recollection.isDone) return;
    throw new CairnError(
      "busy",
      "this node lost its database and asks its peers what they hold: ask another node, or wait (`cairn cluster status` shows how far it is)",
    );
  }

  #onRefused(from: NodeIndex, code: string): void {
    if (code !== "signature-invalid") return;
    this.loop
      .run((batch) =>
        this.bans.violation(batch, { type: "InvalidSignature", node: from, subject: null, evidence: null }),
      )
      .catch((cause: unknown) => this.#report(cause));
  }

  #sessionViolation(batch: Batch, violation: SessionViolation, session: SessionId): void {
    if (violation.violation === "InvalidPartial") {
      const { node, partial } = violation;
      return batch.afterwards(() => {
        this.bans.wrongPartial(node, partial, session).catch((cause: unknown) => this.#report(cause));
      });
    }
    const evidence: Evidence | null =
      violation.violation === "Equivocation"
        ? {
            type: "Equivocation",
            version: 1,
            manifestHash: this.manifests.manifestHash,
            broadcasts: [violation.broadcasts[0], violation.broadcasts[1]],
          }
        : null;
    this.bans.violation(batch, {
      type: violation.violation,
      node: violation.node,
      subject: session,
      evidence,
    });
  }

  #peersChanged(): void {
    this.#signing.peersChanged();
    this.keys.peersChanged();
  }

  #connected(): ReadonlySet<NodeIndex> {
    const peers = this.#modules.courier.peers().filter((peer) => peer.up);
    return new Set([this.options.me, ...peers.map(({ node }) => node)]);
  }

  /** Whom sessions can be made with now: nobody, before this node may act itself. */
  #up(): ReadonlySet<NodeIndex> {
    if (!this.#own.admits) return new Set();
    const { me } = this.options;
    return new Set([...this.#connected()].filter((node) => node === me || this.fence.isCurrent(node)));
  }
}
