import type { Authorisation, Grant } from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  type GrantId,
  type IntentHash,
  isCairnError,
  type KeyRow,
  type Manifest,
  type NodeIndex,
  type NodeStore,
  type SessionId,
  type Signer,
  sha256Hex,
  signBody,
  type Timer,
  toHex,
  type UnixMs,
} from "@cairn/core";
import {
  type AttemptLedger,
  type AttemptPlan,
  type AttemptSettings,
  attemptBegan,
  attemptEnded,
  choosePresignatures,
  type Driver,
  endAttempt,
  grantSubject,
  makeProposal,
  type NackCode,
  newAttemptPlan,
  type PresignatureFacts,
  type ProposalFacts,
  preferredSubsets,
  type SessionSubject,
  type SessionTimeouts,
  type SessionWork,
  type SignedFinalize,
  type SignedProposal,
} from "@cairn/signing";
import type { Batch, Cell, Loop } from "./loop.ts";
import { proposalFacts } from "./proposal-facts.ts";
import { nackCodeOf, sendNack } from "./send-nack.ts";
import type { SessionDesk, SessionOwner } from "./session-desk.ts";
import type { SpendDesk } from "./spend-desk.ts";

export interface SignDeskOptions {
  readonly me: NodeIndex;
  readonly manifest: Manifest;
  readonly protocolVersions: readonly number[];
  readonly attempts: AttemptSettings;
  readonly timeouts: SessionTimeouts;
  /** How long a proposal may wait here for the certificate that justifies it. */
  readonly grantWaitMs: number;
}

export interface SignDeskModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "presignatures" | "presignature" | "sessions">;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly sessions: SessionDesk;
  readonly spends: SpendDesk;
  readonly authorisation: Authorisation;
  readonly driver: Driver;
  /** @throws CairnError `not-found` */
  readonly key: (keyId: Grant["keyId"]) => KeyRow;
  /** A peer's signatures of a spend do not verify. */
  readonly forged: (batch: Batch, from: NodeIndex, subject: SessionId) => void;
  /** Attempts of every purpose at this node. */
  readonly ledger: Cell<AttemptLedger>;
  /** Nodes that are up, this one among them. */
  readonly up: () => ReadonlySet<NodeIndex>;
  /** Nodes that are banned or excluded here. */
  readonly refused: () => ReadonlySet<NodeIndex>;
  readonly report: (cause: unknown) => void;
}

interface Plan {
  readonly grant: Grant;
  readonly subject: SessionSubject;
  readonly plan: AttemptPlan;
  /** The session of the attempt that lives here, or null. */
  readonly session: SessionId | null;
  /** The last attempt in which others sign, or null. */
  readonly observed: { readonly session: SessionId; readonly signers: readonly NodeIndex[] } | null;
}

/** How soon a plan is looked at again when too few peers are up. */
const RECHECK_MS = 500;

/** Proposals of one peer that may wait for their certificates at a time. */
const MAX_WAITING_PER_PEER = 32;

/** Attempts at signing what a quorum has approved (architecture §5.5): whose turn it is, who signs, what comes of it. */
export class SignDesk {
  readonly #options: SignDeskOptions;
  readonly #modules: SignDeskModules;
  readonly #plans = new Map<IntentHash, Plan>();
  readonly #byGrant = new Map<GrantId, IntentHash>();
  readonly #timers = new Map<IntentHash, Timer>();
  readonly #waiting = new Map<GrantId, Set<() => void>>();
  readonly #waitingOf = new Map<NodeIndex, number>();
  readonly #ledger: Cell<AttemptLedger>;
  #closed = false;

  constructor(options: SignDeskOptions, modules: SignDeskModules) {
    this.#options = options;
    this.#modules = modules;
    this.#ledger = modules.ledger;
  }

  /** Whether a session for the spend lives here. */
  signing(hash: IntentHash): boolean {
    return this.#plans.get(hash)?.session != null;
  }

  /** A spend was certified: check it, reserve for it, and see to its attempts. */
  begin(hash: IntentHash): void {
    this.#later(this.#begin(hash));
  }

  /** Peers came or went: plans that wait for them are looked at again. */
  peersChanged(): void {
    for (const hash of this.#plans.keys()) this.#wake(hash, 0);
  }

  /** A proposal to sign. What this node can't take part in is answered with a signed Nack. */
  async onProposal(from: NodeIndex, signed: SignedProposal): Promise<void> {
    const refuse = (code: NackCode, message: string) => this.#nack(from, signed, code, message);
    if (from !== signed.body.initiator) {
      return refuse("not-initiator", "the proposal does not come from the initiator that it names");
    }
    try {
      const hash = await this.#awaitGrant(from, signed.body.subject as string as GrantId);
      if (hash === null) return await refuse("not-found", "this node holds no certificate for that grant");
      await this.#modules.spends.approve(hash);
      await this.#join(from, signed, hash, refuse);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      await refuse(nackCodeOf(error), error.message);
    }
  }

  /** Signatures that others made. Wrong ones are named: an honest node verifies what it sends. */
  async onFinalize(from: NodeIndex, signed: SignedFinalize, session: SessionId): Promise<void> {
    const hash = this.#byGrant.get(signed.body.subject as string as GrantId);
    if (hash === undefined || this.#modules.sessions.has(session)) return;
    await this.#modules.loop.run((batch) => {
      const { spends, forged } = this.#modules;
      if (spends.get(hash)?.row.signedTx !== null) return;
      const observed = this.#plans.get(hash)?.observed;
      const signers = observed?.session === session ? observed.signers : [];
      if (spends.signatures.takeIfValid(batch, hash, signed.body.signatures, signers))
        this.#forget(batch, hash);
      else forged(batch, from, session);
    });
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    for (const waiters of [...this.#waiting.values()]) for (const wake of [...waiters]) wake();
  }

  async #begin(hash: IntentHash): Promise<void> {
    if (this.#plans.has(hash)) return;
    try {
      await this.#modules.spends.approve(hash);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      // What keeps this node from approving may pass while others sign; those who can't ever are simply not among the signers.
      const live = this.#modules.spends.get(hash);
      if (live === undefined || live.voiding || live.row.signedTx !== null) return;
      if (live.row.expiry > this.#modules.clock.now()) {
        this.#again(hash);
      }
    }
    const grant = this.#modules.spends.grantOf(hash)?.grant;
    if (grant === undefined) return;
    const key = this.#modules.key(grant.keyId);
    if (key.status !== "active") {
      throw new CairnError("wrong-state", "the wallet's key is not active", {
        keyId: grant.keyId,
        status: key.status,
      });
    }
    const now = this.#modules.clock.now();
    const subject = grantSubject(grant);
    await this.#modules.loop.run((batch) => {
      if (this.#plans.has(hash)) return;
      const firstSeenAt = this.#modules.spends.get(hash)?.row.firstSeenAt ?? now;
      const held = (firstSeenAt + this.#options.manifest.policyDelayMs) as UnixMs;
      const fresh = newAttemptPlan(subject, now);
      // The policy's delay counts from this node's own first sight as well (architecture §5.4).
      const plan = held > fresh.dueAt ? { ...fresh, dueAt: held } : fresh;
      batch.put(this.#plans, hash, { grant, subject, plan, session: null, observed: null });
      batch.put(this.#byGrant, grant.grantId, hash);
      batch.afterwards(() => {
        for (const wake of this.#waiting.get(grant.grantId) ?? []) wake();
        this.#wake(hash, 0);
      });
    });
  }

  /** Looks at a spend again that could not be approved here; its timer is the plan's own later. */
  #again(hash: IntentHash): void {
    if (this.#closed) return;
    this.#timers.get(hash)?.cancel();
    this.#timers.set(
      hash,
      this.#modules.clock.after(this.#options.attempts.slotMs / 10, () => this.begin(hash)),
    );
  }

  #wake(hash: IntentHash, delayMs: number): void {
    if (this.#closed) return;
    this.#timers.get(hash)?.cancel();
    this.#timers.set(
      hash,
      this.#modules.clock.after(Math.max(0, delayMs), () => this.#later(this.#tick(hash))),
    );
  }

  async #tick(hash: IntentHash): Promise<void> {
    const planned = this.#plans.get(hash);
    const live = this.#modules.spends.get(hash);
    if (planned === undefined) return;
    if (live === undefined || live.voiding || live.row.signedTx !== null) {
      await this.#modules.loop.run((batch) => this.#forget(batch, hash));
      return;
    }
    if (planned.session !== null) return;
    const { clock } = this.#modules;
    const decision = this.#modules.driver.decide(planned.plan, planned.subject, {
      me: this.#options.me,
      now: clock.now(),
      up: this.#modules.up(),
      settings: this.#options.attempts,
    });
    switch (decision.decision) {
      case "give-up":
        return;
      case "wait":
        return this.#wake(hash, decision.until - clock.now());
      case "propose":
        return this.#propose(hash, planned, decision.plan, decision.attempt);
    }
  }

  async #propose(hash: IntentHash, planned: Plan, plan: AttemptPlan, attempt: number): Promise<void> {
    const { me } = this.#options;
    const { driver } = this.#modules;
    const { grant, subject } = planned;
    if (this.#modules.spends.get(hash)?.reserved !== true) return this.#wake(hash, RECHECK_MS);
    const up = this.#modules.up();
    const subsets = preferredSubsets(plan, subject, {
      me,
      attempt,
      up,
      refused: this.#modules.refused(),
    }).filter((subset) => subset.every((node) => up.has(node)));
    const [fallback] = subsets;
    if (fallback === undefined) return this.#wake(hash, RECHECK_MS);
    const key = this.#modules.key(grant.keyId);
    const stock = key.protocol === "cggmp24" ? await this.#stock(grant) : [];
    const chosen = choosePresignatures(
      { keyId: key.keyId, epoch: key.epoch },
      stock,
      grant.inputs.map(({ path }) => path),
      subsets,
    );
    const proposal = makeProposal({
      cluster: this.#options.manifest.cluster,
      purpose: "sign",
      subject: subject.subject,
      stage: null,
      job: null,
      attempt,
      initiator: me,
      signers: [...(chosen?.signers ?? fallback)],
      protocolVersion: grant.protocolVersion,
      items: chosen === null ? null : [...chosen.items],
    });
    const signed = signBody("cairn/proposal/v1", proposal, this.#modules.signer);
    const used = stock.filter((item) => proposal.items?.includes(item.id));
    await this.#modules.loop.run((batch) => {
      const current = this.#plans.get(hash);
      if (current === undefined || current.session !== null) return;
      this.#authorise(hash);
      const verdict = driver.judge(this.#ledger.value, signed, this.#facts(me, current.subject));
      if (verdict.verdict !== "accept") {
        this.#wake(hash, RECHECK_MS);
        return;
      }
      batch.assign(this.#ledger, verdict.ledger);
      this.#open(batch, hash, { ...current, plan }, proposal, this.#unheld(used), null);
    });
  }

  async #join(
    from: NodeIndex,
    signed: SignedProposal,
    hash: IntentHash,
    refuse: (code: NackCode, message: string) => Promise<void>,
  ): Promise<void> {
    const used = await this.#named(signed);
    const refusal = await this.#modules.loop.run((batch) => {
      const planned = this.#plans.get(hash);
      if (planned === undefined) {
        return { code: "grant-invalid", message: "the grant is used up or void at this node" } as const;
      }
      this.#authorise(hash);
      const verdict = this.#modules.driver.judge(
        this.#ledger.value,
        signed,
        this.#facts(from, planned.subject),
      );
      if (verdict.verdict === "refuse") return verdict;
      batch.assign(this.#ledger, verdict.ledger);
      if (verdict.verdict === "observe") {
        this.#observe(batch, hash, planned, signed.body);
      } else {
        this.#open(batch, hash, planned, signed.body, this.#unheld(used), signed);
      }
      return null;
    });
    if (refusal !== null) await refuse(refusal.code, refusal.message);
  }

  /** @throws CairnError with what the grant lacks at this node */
  #authorise(hash: IntentHash): void {
    const held = this.#modules.spends.grantOf(hash);
    if (held === null)
      throw new CairnError("grant-invalid", "this node has not checked the spend", { intent: hash });
    this.#modules.authorisation.check(held.grant, held.evidence, this.#modules.clock.now());
  }

  #observe(batch: Batch, hash: IntentHash, planned: Plan, proposal: SignedProposal["body"]): void {
    const { attempt, sessionId, signers } = proposal;
    const until = (this.#modules.clock.now() + this.#options.timeouts.ackMs) as UnixMs;
    const plan = attemptBegan(planned.plan, attempt, until);
    batch.put(this.#plans, hash, { ...planned, plan, observed: { session: sessionId, signers } });
    batch.afterwards(() => this.#wake(hash, this.#options.timeouts.ackMs));
  }

  #open(
    batch: Batch,
    hash: IntentHash,
    planned: Plan,
    proposal: SignedProposal["body"],
    stock: readonly PresignatureFacts[],
    signed: SignedProposal | null,
  ): void {
    const { clock, sessions, spends } = this.#modules;
    const until = (clock.now() + this.#options.timeouts.sessionMs) as UnixMs;
    const plan = attemptBegan(planned.plan, proposal.attempt, until);
    batch.put(this.#plans, hash, { ...planned, plan, session: proposal.sessionId });
    if (spends.get(hash)?.row.state === "approved") spends.update(batch, hash, { state: "signing" });
    sessions.open(
      batch,
      proposal,
      this.#work(hash, planned.grant, proposal, stock),
      this.#owner(hash, proposal),
      this.#options.timeouts,
      signed,
    );
  }

  #work(
    hash: IntentHash,
    grant: Grant,
    proposal: SignedProposal["body"],
    stock: readonly PresignatureFacts[],
  ): SessionWork {
    const key = this.#modules.key(grant.keyId);
    const checked = this.#modules.spends.get(hash)?.checked;
    if (key.sealedShare === null || checked == null) {
      throw new CairnError("wrong-state", "this node cannot sign for the key yet", { keyId: grant.keyId });
    }
    const { keyId, epoch } = key;
    const ids = proposal.items;
    if (ids === null) {
      return {
        kind: "engine",
        spec: {
          kind: key.protocol === "frost" ? "frost-sign" : "cggmp24-sign",
          keyId,
          epoch,
          signers: proposal.signers,
          sealedShare: key.sealedShare,
          items: checked.inputs.map(({ path, sighash }) => ({ path, preimage: sighash.preimage })),
        },
      };
    }
    const inputs = checked.inputs.map(({ path, sighash }, input) => {
      const presignatureId = ids[input];
      if (presignatureId === undefined) {
        throw new CairnError("presignature-mismatch", "the proposal names too few presignatures", { input });
      }
      return {
        input,
        presignatureId,
        path,
        sighash: toHex(sighash.digest) as Grant["inputs"][number]["sighash"],
        preimage: sighash.preimage,
      };
    });
    return { kind: "presigned", keyId, epoch, inputs, stock };
  }

  #owner(hash: IntentHash, proposal: SignedProposal["body"]): SessionOwner {
    const { spends } = this.#modules;
    return {
      progress: () => {},
      finished: (batch, result) => {
        if (result.kind !== "signatures") return;
        batch.assign(this.#ledger, endAttempt(this.#ledger.value, proposal.sessionId));
        spends.signatures.take(batch, hash, result.signatures, proposal.signers, true);
        this.#forget(batch, hash);
      },
      ended: (batch, end) => {
        batch.assign(this.#ledger, endAttempt(this.#ledger.value, proposal.sessionId));
        const planned = this.#plans.get(hash);
        if (planned === undefined) return;
        const now = this.#modules.clock.now();
        const plan = attemptEnded(
          planned.plan,
          proposal.attempt,
          end.excluded,
          now,
          planned.subject,
          this.#options.attempts,
        );
        batch.put(this.#plans, hash, { ...planned, plan, session: null });
        if (spends.get(hash)?.row.state === "signing") spends.update(batch, hash, { state: "approved" });
        batch.audit("attempt-failed", hash, {
          attempt: proposal.attempt,
          code: end.code,
          excluded: end.excluded.join(","),
        });
        batch.afterwards(() => this.#wake(hash, 0));
      },
    };
  }

  #forget(batch: Batch, hash: IntentHash): void {
    const planned = this.#plans.get(hash);
    if (planned === undefined) return;
    batch.remove(this.#plans, hash);
    batch.remove(this.#byGrant, planned.grant.grantId);
    batch.afterwards(() => {
      this.#timers.get(hash)?.cancel();
      this.#timers.delete(hash);
      const { session } = planned;
      if (session !== null && this.#modules.sessions.has(session)) {
        this.#later(this.#modules.sessions.cancel(session, "closed"));
      }
    });
  }

  #facts(from: NodeIndex, subject: SessionSubject): ProposalFacts {
    return proposalFacts(this.#options, this.#modules.clock, from, subject);
  }

  /** Ready presignatures for the paths of a grant. */
  async #stock(grant: Grant): Promise<PresignatureFacts[]> {
    const paths = new Map(grant.inputs.map(({ path }) => [path.join("/"), path]));
    const rows = await Promise.all(
      [...paths.values()].map((path) =>
        this.#modules.store.presignatures({ keyId: grant.keyId, path, state: "ready" }),
      ),
    );
    // Spends that are signed side by side begin at different items, so that their initiators seldom name the same.
    return rows
      .flat()
      .filter(({ id }) => !this.#modules.sessions.holds(id))
      .map((row) => ({ row, rank: sha256Hex(Buffer.from(`${grant.grantId}/${row.id}`, "utf8")) }))
      .sort((a, b) => (a.rank < b.rank ? -1 : 1))
      .map(({ row }) => row);
  }

  async #named(signed: SignedProposal): Promise<PresignatureFacts[]> {
    const rows = await Promise.all(
      (signed.body.items ?? []).map((id) => this.#modules.store.presignature(id)),
    );
    return rows.filter((row) => row !== null);
  }

  /** What the store said of presignatures, now that other sessions may have taken them up. */
  #unheld(stock: readonly PresignatureFacts[]): PresignatureFacts[] {
    return stock.map((facts) =>
      this.#modules.sessions.holds(facts.id) ? { ...facts, state: "burned" } : facts,
    );
  }

  /** The initiator may be faster than the certificate: waits a moment for it. */
  async #awaitGrant(from: NodeIndex, grant: GrantId): Promise<IntentHash | null> {
    const known = this.#byGrant.get(grant);
    if (known !== undefined) return known;
    const waiting = this.#waitingOf.get(from) ?? 0;
    if (waiting >= MAX_WAITING_PER_PEER) {
      throw new CairnError("rate-limited", "too many proposals for grants that this node does not hold", {
        node: from,
      });
    }
    this.#waitingOf.set(from, waiting + 1);
    const waiters = this.#waiting.get(grant) ?? new Set<() => void>();
    this.#waiting.set(grant, waiters);
    await new Promise<void>((resolve) => {
      const wake = () => {
        timer.cancel();
        waiters.delete(wake);
        if (waiters.size === 0) this.#waiting.delete(grant);
        this.#waitingOf.set(from, (this.#waitingOf.get(from) ?? 1) - 1);
        resolve();
      };
      const timer = this.#modules.clock.after(this.#options.grantWaitMs, wake);
      waiters.add(wake);
    });
    return this.#byGrant.get(grant) ?? null;
  }

  #nack(to: NodeIndex, signed: SignedProposal, code: NackCode, message: string): Promise<void> {
    return this.#modules.loop.run((batch) =>
      sendNack(
        batch,
        { me: this.#options.me, to, proposal: signed.body, code, message },
        this.#modules.signer,
      ),
    );
  }

  #later(work: Promise<void>): void {
    work.catch((cause: unknown) => {
      if (!isCairnError(cause, "closed")) this.#modules.report(cause);
    });
  }
}
