import { createDescriptor } from "@cairn/bitcoin";
import { checkKeygenRequest } from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  decodeCanonical,
  domainHash,
  type ExecutionId,
  encodeCanonical,
  executionIdSchema,
  type HashHex,
  isCairnError,
  type KeyId,
  type KeyRow,
  keygenRequestHash,
  type Manifest,
  type ManifestHash,
  type NodeIndex,
  type NodeStore,
  type PeerMessage,
  publicPackageHash,
  type SessionId,
  type SignedKeygenApproval,
  type SignedKeygenRequest,
  type Signer,
  signBody,
  signedKeygenApprovalSchema,
  signedKeygenRequestSchema,
  signedSchema,
  type Timer,
  type UnixMs,
  type WalletRecord,
  type WalletRow,
  walletIdOf,
  walletRecordSchema,
} from "@cairn/core";
import {
  type AttemptLedger,
  type AttemptPlan,
  type AttemptSettings,
  attemptBegan,
  attemptEnded,
  type Driver,
  type Engine,
  type EngineWork,
  endAttempt,
  type KeygenEffect,
  type KeygenEvent,
  type KeygenSetup,
  type KeygenStage,
  type KeyState,
  keygenSubject,
  keyStateSchema,
  keyStatusOf,
  makeProposal,
  newAttemptPlan,
  newKey,
  type Proposal,
  type ProposalFacts,
  resumeKey,
  type SessionSubject,
  type SessionTimeouts,
  type SignedFinalize,
  type SignedProposal,
  signedPublicPackageWordSchema,
  stepKey,
  subjectKey,
  testSigningItem,
  testSubsets,
  welcomesStage,
} from "@cairn/signing";
import { atTime } from "./at-time.ts";
import type { Batch, Cell, Loop } from "./loop.ts";
import { proposalFacts } from "./proposal-facts.ts";
import { nackCodeOf, sendNack } from "./send-nack.ts";
import type { SessionDesk, SessionOwner } from "./session-desk.ts";
import type { WalletBook } from "./wallet-book.ts";

export interface KeygenDeskOptions {
  readonly me: NodeIndex;
  readonly manifest: Manifest;
  readonly manifestHash: ManifestHash;
  readonly protocolVersions: readonly number[];
  readonly clockSkewMs: number;
  readonly attempts: AttemptSettings;
  readonly timeouts: SessionTimeouts;
}

export interface KeygenDeskModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "keys" | "wallets" | "meta" | "auxiliary">;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly engine: Engine;
  readonly sessions: SessionDesk;
  readonly wallets: WalletBook;
  readonly ledger: Cell<AttemptLedger>;
  readonly driver: Driver;
  readonly up: () => ReadonlySet<NodeIndex>;
  readonly refused: () => ReadonlySet<NodeIndex>;
  /** A peer's test signature does not verify. */
  readonly forged: (batch: Batch, from: NodeIndex, subject: SessionId) => void;
  /** A key changed: its row, the stage it is in, and how far that is (0..1) or null. */
  readonly changed: (row: KeyRow, stage: string, progress: number | null) => void;
  readonly report: (cause: unknown) => void;
}

/** What is known of a key while it is made. */
interface LiveKey {
  readonly row: KeyRow;
  readonly request: SignedKeygenRequest;
  readonly state: KeyState;
}

/** Attempts at one stage of one key. */
interface StagePlan {
  readonly keyId: KeyId;
  readonly stage: KeygenStage;
  readonly signers: readonly NodeIndex[];
  readonly subject: SessionSubject;
  readonly plan: AttemptPlan;
  readonly session: SessionId | null;
}

/** A key as people ask for it. */
export interface KeyProgress {
  readonly row: KeyRow;
  /** Phase of the key's life cycle, and the step of the session that runs. */
  readonly stage: string;
  readonly progress: number | null;
  readonly approvals: readonly SignedKeygenApproval[];
}

const walletSignatureSchema = signedSchema(walletRecordSchema);

/** Sessions of others that are remembered at a time. */
const MAX_OBSERVED = 256;

/** Failed attempts of one stage after which this node gives a key up. */
const MAX_STAGE_ATTEMPTS = 6;
const RECHECK_MS = 500;

/** Keys: from an operator's request to a wallet that all nodes have signed (architecture §§5, 7). */
export class KeygenDesk {
  readonly #options: KeygenDeskOptions;
  readonly #modules: KeygenDeskModules;
  readonly #keys = new Map<KeyId, LiveKey>();
  readonly #plans = new Map<string, StagePlan>();
  readonly #timers = new Map<string, Timer>();
  readonly #progress = new Map<KeyId, number>();
  /** Sessions of test signatures in which others sign. */
  readonly #observed = new Map<SessionId, { readonly keyId: KeyId; readonly part: number }>();
  readonly #identities: KeygenSetup["identities"];
  readonly #members: readonly NodeIndex[];
  #closed = false;

  constructor(options: KeygenDeskOptions, modules: KeygenDeskModules) {
    this.#options = options;
    this.#modules = modules;
    this.#identities = new Map(options.manifest.members.map((member) => [member.index, member.identity]));
    this.#members = options.manifest.members.map(({ index }) => index);
  }

  async restore(): Promise<void> {
    for (const row of await this.#modules.store.keys()) {
      const request = decodeCanonical(signedKeygenRequestSchema, row.request);
      const stored = await this.#modules.store.meta(stateKey(row.keyId));
      if (stored === null) {
        throw new CairnError(
          "storage-corrupt",
          "a key's state is missing; restore the database from a backup",
          { keyId: row.keyId },
        );
      }
      this.#keys.set(row.keyId, { row, request, state: decodeCanonical(keyStateSchema, stored) });
    }
    for (const row of await this.#modules.store.wallets()) this.#modules.wallets.add(row);
  }

  /** Goes on with what a restart interrupted. */
  resume(): void {
    for (const [keyId, { state, request }] of this.#keys) {
      const effects = resumeKey(state, this.#setup(keyId, request));
      if (effects.length === 0 && state.phase !== "approving") continue;
      this.#later(
        this.#modules.loop.run((batch) => {
          for (const effect of effects) this.#carryOut(batch, keyId, effect);
          if (state.phase === "approving") batch.afterwards(() => this.#later(this.#decide(keyId)));
        }),
      );
    }
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  all(): readonly KeyRow[] {
    return [...this.#keys.values()].map(({ row }) => row);
  }

  list(): readonly KeyProgress[] {
    return [...this.#keys.values()].map(({ row, state }) => ({
      row,
      stage: stageName(state),
      progress: this.#progress.get(row.keyId) ?? null,
      approvals: "heard" in state ? state.heard.approvals : [],
    }));
  }

  /** @throws CairnError `not-found`, `wrong-state` */
  active(keyId: KeyId): KeyRow {
    const row = this.#require(keyId).row;
    if (row.status === "active") return row;
    throw new CairnError("wrong-state", `the key is ${row.status}; \`cairn dkg status\` says more`, {
      keyId,
      status: row.status,
    });
  }

  /** @throws CairnError `not-found` */
  publicPackage(keyId: KeyId): Uint8Array {
    const { publicPackage } = this.#require(keyId).row;
    if (publicPackage !== null) return publicPackage;
    throw new CairnError("not-found", "the key has no public package yet", { keyId });
  }

  /** Takes an operator's request and passes it on. A request that is known answers with its key. */
  async request(signed: SignedKeygenRequest): Promise<KeyId> {
    await this.#take(signed, true);
    return keygenRequestHash(signed.body);
  }

  async onRequest(_from: NodeIndex, payload: Uint8Array): Promise<void> {
    await this.#take(decodeCanonical(signedKeygenRequestSchema, payload), false);
  }

  async onApproval(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const signed = decodeCanonical(signedKeygenApprovalSchema, payload);
    await this.#feed(signed.body.keyId, { event: "approval", from, signed });
  }

  async onPublicPackage(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const signed = decodeCanonical(signedPublicPackageWordSchema, payload);
    await this.#feed(signed.body.keyId, { event: "public-package", from, signed });
  }

  async onWalletSignature(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const signed = decodeCanonical(walletSignatureSchema, payload);
    await this.#feed(signed.body.keyId, { event: "wallet-signature", from, signed });
  }

  /** A peer opens an attempt at a stage. */
  async onProposal(from: NodeIndex, signed: SignedProposal): Promise<void> {
    const proposal = signed.body;
    const keyId = proposal.subject as string as KeyId;
    const spec = await this.#prepare(keyId, proposal);
    await this.#modules.loop.run((batch) => {
      const refusal = this.#accept(batch, from, signed, keyId, spec);
      if (refusal === null) return;
      sendNack(batch, { me: this.#options.me, to: from, proposal, ...refusal }, this.#modules.signer);
    });
  }

  /** Test signatures that others made. Wrong ones are named: an honest node verifies what it sends. */
  async onFinalize(from: NodeIndex, signed: SignedFinalize, session: SessionId): Promise<void> {
    const observed = this.#observed.get(session);
    if (observed === undefined) return;
    const { keyId, part } = observed;
    const signers = testSubsets(this.#members, this.#options.manifest.threshold)[part];
    const [signature] = signed.body.signatures;
    if (signers === undefined || signature === undefined) return;
    const item = this.#testItem(keyId, signers);
    const valid = await this.#modules.engine.verify({
      publicPackage: this.publicPackage(keyId),
      ...item,
      signature,
    });
    if (valid) return this.#feed(keyId, { event: "test-verified", part, signatures: [signature] });
    await this.#modules.loop.run((batch) => this.#modules.forged(batch, from, session));
  }

  /** Peers came or went: stages that wait for them are looked at again. */
  peersChanged(): void {
    for (const key of this.#plans.keys()) this.#wake(key, 0);
  }

  async #take(signed: SignedKeygenRequest, own: boolean): Promise<void> {
    const { manifest, manifestHash, clockSkewMs } = this.#options;
    const keyId = keygenRequestHash(signed.body);
    if (this.#keys.has(keyId)) return;
    const now = this.#modules.clock.now();
    checkKeygenRequest(signed, { manifest, manifestHash, now, clockSkewMs });
    await this.#modules.loop.run((batch) => {
      if (this.#keys.has(keyId)) return;
      const row: KeyRow = {
        keyId,
        protocol: signed.body.protocol,
        purpose: "wallet",
        epoch: 0,
        status: "generating",
        request: encodeCanonical(signed),
        publicPackage: null,
        sealedShare: null,
        reason: null,
        createdAt: now,
        updatedAt: now,
      };
      const { state, effects } = newKey(this.#setup(keyId, signed));
      batch.put(this.#keys, keyId, { row, request: signed, state });
      batch.write({ write: "key", row });
      batch.write({ write: "meta", key: stateKey(keyId), value: encodeCanonical(state) });
      batch.audit("keygen-requested", keyId, { protocol: row.protocol, operator: signed.body.operator });
      if (own) batch.post(this.#others(), `keygen-request/${keyId}`, message("keygen-request", row.request));
      for (const effect of effects) this.#carryOut(batch, keyId, effect);
      batch.afterwards(() => {
        this.#changed(keyId);
        this.#later(this.#decide(keyId));
      });
    });
  }

  /** This node's own word: it checked the request before it stored it. */
  async #decide(keyId: KeyId): Promise<void> {
    const held = await this.#modules.store.meta(auxExecutionKey(this.#parties()));
    const auxExecution = held === null ? null : decodeCanonical(executionIdSchema, held);
    await this.#feed(keyId, { event: "decided", approve: true, reason: null, auxExecution });
  }

  async #feed(keyId: KeyId, event: KeygenEvent): Promise<void> {
    await this.#modules.loop.run((batch) => this.#step(batch, keyId, event));
  }

  #step(batch: Batch, keyId: KeyId, event: KeygenEvent): void {
    const live = this.#keys.get(keyId);
    if (live === undefined) {
      throw new CairnError("busy", "this node has not seen the keygen request yet; send it again", { keyId });
    }
    const step = stepKey(live.state, event, this.#setup(keyId, live.request), {
      now: this.#modules.clock.now(),
    });
    if (step.state !== live.state) {
      const row = { ...live.row, status: keyStatusOf(step.state), updatedAt: this.#modules.clock.now() };
      batch.put(this.#keys, keyId, { ...live, row, state: step.state });
      batch.write({ write: "key", row });
      batch.write({ write: "meta", key: stateKey(keyId), value: encodeCanonical(step.state) });
      if (step.state.phase !== live.state.phase) batch.audit("key-phase", keyId, { phase: step.state.phase });
      batch.afterwards(() => this.#changed(keyId));
    }
    for (const effect of step.effects) this.#carryOut(batch, keyId, effect);
  }

  #carryOut(batch: Batch, keyId: KeyId, effect: KeygenEffect): void {
    const { clock } = this.#modules;
    switch (effect.effect) {
      case "send":
        return this.#send(batch, keyId, effect);
      case "arm":
        return batch.afterwards(() => {
          atTime(clock, effect.at, () => this.#later(this.#feed(keyId, { event: "tick" })));
        });
      case "run-stage":
        return this.#runStage(batch, keyId, effect.stage, effect.signers);
      case "stop-stages":
        return this.#stopStages(batch, keyId);
      case "store-aux": {
        const parties = this.#parties();
        batch.write({ write: "auxiliary", parties, sealed: effect.sealedAux });
        batch.write({
          write: "meta",
          key: auxExecutionKey(parties),
          value: encodeCanonical(effect.execution),
        });
        return this.#stopStages(batch, keyId);
      }
      case "store-share": {
        const { sealedShare, publicPackage } = effect;
        this.#update(batch, keyId, { sealedShare, publicPackage });
        batch.audit("share-stored", keyId, {
          attempt: effect.attempt,
          package: publicPackageHash(publicPackage),
        });
        return this.#stopStages(batch, keyId);
      }
      case "make-record":
        return batch.afterwards(() => this.#later(this.#makeRecord(keyId, effect.publicPackage)));
      case "activate":
        return this.#activate(batch, keyId, effect);
      case "failed":
        this.#update(batch, keyId, { status: "failed", reason: effect.code });
        return batch.audit("keygen-failed", keyId, { code: effect.code, blamed: effect.blamed.join(",") });
      case "disagrees":
        return batch.audit("keygen-disagreement", keyId, { node: effect.node });
      case "status":
        return this.#update(batch, keyId, { status: effect.status });
      case "refused":
        return batch.audit("message-refused", keyId, { from: effect.from, code: effect.code });
    }
  }

  #update(batch: Batch, keyId: KeyId, change: Partial<KeyRow>): void {
    const live = this.#require(keyId);
    const row = { ...live.row, ...change, updatedAt: this.#modules.clock.now() };
    batch.put(this.#keys, keyId, { ...live, row });
    batch.write({ write: "key", row });
    batch.afterwards(() => this.#changed(keyId));
  }

  #send(batch: Batch, keyId: KeyId, effect: Extract<KeygenEffect, { effect: "send" }>): void {
    const { kind, domain, body } = effect.message;
    const { me } = this.#options;
    const signed = signBody<unknown>(domain, body, this.#modules.signer);
    const payload = encodeCanonical(signed);
    const id = `${kind}/${keyId}/${domainHash(domain, body)}`;
    batch.post(
      effect.to.filter((node) => node !== me),
      id,
      message(kind, payload),
    );
    if (!effect.to.includes(me)) return;
    const receive = {
      "keygen-approval": () => this.onApproval(me, payload),
      "public-package": () => this.onPublicPackage(me, payload),
      "wallet-signature": () => this.onWalletSignature(me, payload),
    }[kind];
    batch.afterwards(() => this.#later(receive()));
  }

  #activate(batch: Batch, keyId: KeyId, effect: Extract<KeygenEffect, { effect: "activate" }>): void {
    const { record } = effect.signed;
    const row: WalletRow = {
      wallet: record.wallet,
      keyId,
      label: record.label,
      record: encodeCanonical(effect.signed),
      createdAt: this.#modules.clock.now(),
    };
    batch.write({ write: "wallet", row });
    batch.audit("key-active", keyId, { wallet: record.wallet, descriptor: record.descriptor });
    batch.afterwards(() => this.#modules.wallets.add(row));
  }

  async #makeRecord(keyId: KeyId, publicPackage: Uint8Array): Promise<void> {
    const { manifest } = this.#options;
    const { body } = this.#require(keyId).request;
    const { publicKey, chainCode } = await this.#modules.engine.describe(publicPackage);
    const kind = body.protocol === "frost" ? "tr" : "wpkh";
    const descriptor = createDescriptor(kind, manifest.network, publicKey, chainCode).text;
    const record: WalletRecord = {
      version: 1,
      cluster: manifest.cluster,
      wallet: walletIdOf(descriptor),
      label: body.label,
      network: manifest.network,
      descriptor,
      keyId,
      protocol: body.protocol,
      publicPackage: publicPackageHash(publicPackage),
      birthday: body.createdAt,
    };
    await this.#feed(keyId, { event: "record-made", record });
  }

  #runStage(batch: Batch, keyId: KeyId, stage: KeygenStage, signers: readonly NodeIndex[]): void {
    if (!signers.includes(this.#options.me)) return;
    const { body } = this.#require(keyId).request;
    const subject = keygenSubject(body, stage, signers);
    const key = subjectKey(subject);
    if (this.#plans.has(key)) return;
    const plan = newAttemptPlan(subject, this.#modules.clock.now());
    batch.put(this.#plans, key, { keyId, stage, signers, subject, plan, session: null });
    batch.afterwards(() => this.#wake(key, 0));
  }

  #stopStages(batch: Batch, keyId: KeyId): void {
    for (const [session, observed] of this.#observed) {
      if (observed.keyId === keyId) batch.remove(this.#observed, session);
    }
    for (const [key, plan] of this.#plans) {
      if (plan.keyId !== keyId) continue;
      batch.remove(this.#plans, key);
      batch.afterwards(() => {
        this.#timers.get(key)?.cancel();
        this.#timers.delete(key);
        const { session } = plan;
        if (session !== null && this.#modules.sessions.has(session)) {
          this.#later(this.#modules.sessions.cancel(session, "closed"));
        }
      });
    }
    batch.afterwards(() => this.#progress.delete(keyId));
  }

  #wake(key: string, delayMs: number): void {
    if (this.#closed) return;
    this.#timers.get(key)?.cancel();
    this.#timers.set(
      key,
      this.#modules.clock.after(Math.max(0, delayMs), () => this.#later(this.#tick(key))),
    );
  }

  async #tick(key: string): Promise<void> {
    const planned = this.#plans.get(key);
    if (planned === undefined || planned.session !== null) return;
    const { clock } = this.#modules;
    const up = this.#modules.up();
    const decision = this.#modules.driver.decide(planned.plan, planned.subject, {
      me: this.#options.me,
      now: clock.now(),
      up,
      settings: this.#options.attempts,
    });
    switch (decision.decision) {
      case "give-up":
        return;
      case "wait":
        return this.#wake(key, decision.until - clock.now());
      case "propose":
        // A stage needs all of its signers: an attempt without one of them would only use up its turn.
        if (!planned.signers.every((node) => up.has(node))) return this.#wake(key, RECHECK_MS);
        return this.#propose(key, planned, decision.plan, decision.attempt);
    }
  }

  async #propose(key: string, planned: StagePlan, plan: AttemptPlan, attempt: number): Promise<void> {
    const { me, manifest, protocolVersions } = this.#options;
    const proposal = makeProposal({
      cluster: manifest.cluster,
      purpose: "keygen",
      subject: planned.subject.subject,
      stage: planned.stage,
      job: null,
      attempt,
      initiator: me,
      signers: [...planned.signers],
      protocolVersion: Math.max(
        ...protocolVersions.filter((version) => manifest.protocolVersions.includes(version)),
      ),
      items: null,
    });
    const signed = signBody("cairn/proposal/v1", proposal, this.#modules.signer);
    const spec = await this.#prepare(planned.keyId, proposal);
    await this.#modules.loop.run((batch) => {
      const current = this.#plans.get(key);
      if (current === undefined || current.session !== null) return;
      const refusal = this.#accept(batch, me, signed, planned.keyId, spec, { ...current, plan });
      if (refusal !== null) batch.afterwards(() => this.#wake(key, RECHECK_MS));
    });
  }

  #accept(
    batch: Batch,
    from: NodeIndex,
    signed: SignedProposal,
    keyId: KeyId,
    spec: EngineWork | CairnError,
    own: StagePlan | null = null,
  ) {
    const { me, timeouts } = this.#options;
    const { clock, ledger, sessions } = this.#modules;
    const proposal = signed.body;
    const live = this.#keys.get(keyId);
    const stage = proposal.stage;
    if (live === undefined || stage === null || !welcomesStage(live.state, stage)) {
      return { code: "wrong-state" as const, message: "the key is not at that stage here" };
    }
    const subject = keygenSubject(live.request.body, stage, this.#stageSigners(stage));
    const verdict = this.#modules.driver.judge(ledger.value, signed, this.#facts(from, subject));
    if (verdict.verdict === "refuse") return { code: verdict.code, message: verdict.message };
    if (verdict.verdict === "observe") {
      batch.assign(ledger, verdict.ledger);
      batch.put(this.#observed, proposal.sessionId, { keyId, part: stage.part });
      const [oldest] = this.#observed.keys();
      if (this.#observed.size > MAX_OBSERVED && oldest !== undefined) batch.remove(this.#observed, oldest);
      return null;
    }
    if (spec instanceof CairnError) return { code: nackCodeOf(spec), message: spec.message };
    batch.assign(ledger, verdict.ledger);
    const key = subjectKey(subject);
    const planned = own ?? this.#plans.get(key);
    const until = (clock.now() + timeouts.sessionMs) as UnixMs;
    const base: StagePlan = planned ?? {
      keyId,
      stage,
      signers: proposal.signers,
      subject,
      plan: newAttemptPlan(subject, clock.now()),
      session: null,
    };
    batch.put(this.#plans, key, {
      ...base,
      plan: attemptBegan(base.plan, proposal.attempt, until),
      session: proposal.sessionId,
    });
    const received = from === me ? null : signed;
    sessions.open(
      batch,
      proposal,
      { kind: "engine", spec },
      this.#owner(keyId, key, proposal),
      timeouts,
      received,
    );
    return null;
  }

  /** What the engine is asked to do for a proposal; an error where this node lacks something for it. */
  async #prepare(keyId: KeyId, proposal: Proposal): Promise<EngineWork | CairnError> {
    const live = this.#keys.get(keyId);
    if (live === undefined || proposal.stage === null) {
      return new CairnError("not-found", "this node knows no such keygen request", { keyId });
    }
    const { row, request } = live;
    const { threshold } = request.body;
    const parties = [...this.#members];
    switch (proposal.stage.step) {
      case "aux":
        return { kind: "cggmp24-aux", parties };
      case "keygen": {
        const base = { keyId, epoch: row.epoch, parties, threshold };
        if (row.protocol === "frost") return { kind: "frost-keygen", ...base };
        const sealedAux = await this.#modules.store.auxiliary(this.#parties());
        if (sealedAux === null) {
          return new CairnError("wrong-state", "this node holds no auxiliary information yet", { keyId });
        }
        return { kind: "cggmp24-keygen", ...base, sealedAux };
      }
      case "test": {
        if (row.sealedShare === null || row.publicPackage === null) {
          return new CairnError("wrong-state", "this node holds no share of the key yet", { keyId });
        }
        return {
          kind: row.protocol === "frost" ? "frost-sign" : "cggmp24-sign",
          keyId,
          epoch: row.epoch,
          signers: proposal.signers,
          sealedShare: row.sealedShare,
          items: [this.#testItem(keyId, proposal.signers)],
        };
      }
    }
  }

  #testItem(keyId: KeyId, subset: readonly NodeIndex[]) {
    const { row } = this.#require(keyId);
    return testSigningItem({
      cluster: this.#options.manifest.cluster,
      keyId,
      protocol: row.protocol,
      publicPackage: publicPackageHash(this.publicPackage(keyId)),
      subset,
    });
  }

  #owner(keyId: KeyId, key: string, proposal: Proposal): SessionOwner {
    const { ledger } = this.#modules;
    return {
      progress: ({ round, rounds }) => {
        this.#progress.set(keyId, rounds === 0 ? 0 : Math.min(1, round / rounds));
        this.#changed(keyId);
      },
      finished: (batch, result) => {
        batch.assign(ledger, endAttempt(ledger.value, proposal.sessionId));
        this.#clear(batch, key);
        if (result.kind === "signatures") {
          const part = proposal.stage?.part ?? 0;
          return this.#step(batch, keyId, { event: "test-verified", part, signatures: result.signatures });
        }
        this.#made(batch, keyId, proposal.attempt, result.execution, result.result);
      },
      ended: (batch, end) => {
        batch.assign(ledger, endAttempt(ledger.value, proposal.sessionId));
        const planned = this.#plans.get(key);
        if (planned === undefined || proposal.stage === null) return;
        const { attempts } = this.#options;
        const now = this.#modules.clock.now();
        const plan = attemptEnded(
          planned.plan,
          proposal.attempt,
          end.excluded,
          now,
          planned.subject,
          attempts,
        );
        batch.put(this.#plans, key, { ...planned, plan, session: null });
        batch.audit("keygen-attempt-failed", keyId, {
          step: proposal.stage.step,
          attempt: proposal.attempt,
          code: end.code,
          blamed: end.blamed.join(","),
        });
        batch.afterwards(() => this.#wake(key, 0));
        // A peer that is not at that stage yet refuses; only what was begun and failed counts against the key.
        if (!end.started) return;
        this.#step(batch, keyId, {
          event: "stage-ended",
          stage: proposal.stage,
          code: end.code,
          blamed: end.blamed,
        });
      },
    };
  }

  #made(
    batch: Batch,
    keyId: KeyId,
    attempt: number,
    execution: ExecutionId,
    result: Extract<Parameters<SessionOwner["finished"]>[1], { kind: "engine" }>["result"],
  ): void {
    switch (result.kind) {
      case "cggmp24-aux":
        return this.#step(batch, keyId, { event: "aux-finished", execution, sealedAux: result.sealedAux });
      case "cggmp24-keygen":
      case "frost-keygen": {
        const { sealedShare, publicPackage } = result;
        return this.#step(batch, keyId, { event: "keygen-finished", attempt, sealedShare, publicPackage });
      }
      case "cggmp24-presign":
        throw new CairnError("internal", "a key generation's session made presignatures", { keyId });
    }
  }

  /** The stage has its result: its attempts are over. */
  #clear(batch: Batch, key: string): void {
    batch.remove(this.#plans, key);
    batch.afterwards(() => {
      this.#timers.get(key)?.cancel();
      this.#timers.delete(key);
    });
  }

  #stageSigners(stage: KeygenStage): readonly NodeIndex[] {
    if (stage.step !== "test") return this.#members;
    return testSubsets(this.#members, this.#options.manifest.threshold)[stage.part] ?? [];
  }

  #facts(from: NodeIndex, subject: SessionSubject): ProposalFacts {
    return proposalFacts(this.#options, this.#modules.clock, from, subject);
  }

  #setup(keyId: KeyId, request: SignedKeygenRequest): KeygenSetup {
    return {
      me: this.#options.me,
      cluster: this.#options.manifest.cluster,
      keyId,
      request: request.body,
      members: this.#members,
      identities: this.#identities,
      maxAttempts: MAX_STAGE_ATTEMPTS,
    };
  }

  /** Names the set of parties that auxiliary information is shared by. */
  #parties(): HashHex {
    const { cluster } = this.#options.manifest;
    const identities = this.#options.manifest.members.map(({ identity }) => identity);
    return domainHash("cairn/keygen-request/v1", { cluster, identities }) as HashHex;
  }

  #changed(keyId: KeyId): void {
    const live = this.#keys.get(keyId);
    if (live !== undefined)
      this.#modules.changed(live.row, stageName(live.state), this.#progress.get(keyId) ?? null);
  }

  #require(keyId: KeyId): LiveKey {
    const live = this.#keys.get(keyId);
    if (live === undefined) throw new CairnError("not-found", "this cluster has no such key", { keyId });
    return live;
  }

  #others(): NodeIndex[] {
    return this.#members.filter((index) => index !== this.#options.me);
  }

  #later(work: Promise<void>): void {
    work.catch((cause: unknown) => {
      if (!isCairnError(cause, "closed")) this.#modules.report(cause);
    });
  }
}

function stateKey(keyId: KeyId): string {
  return `keygen/${keyId}`;
}

function auxExecutionKey(parties: HashHex): string {
  return `auxiliary-execution/${parties}`;
}

function stageName(state: KeyState): string {
  return state.phase === "generating" ? state.step : state.phase;
}

function message(kind: PeerMessage["kind"], payload: Uint8Array): PeerMessage {
  return { kind, session: null, round: 0, payload, trace: null };
}
