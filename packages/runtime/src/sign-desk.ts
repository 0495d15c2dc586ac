import { type Authorisation, type Grant, grantIdOf } from "@cairn/consensus";
import {
  CairnError,
  type GrantId,
  type IntentHash,
  isCairnError,
  type KeyRow,
  type NodeIndex,
  type NodeStore,
  type SessionId,
  signBody,
  type UnixMs,
} from "@cairn/core";
import {
  type AttemptPlan,
  choosePresignatures,
  forgetSubject,
  grantSubject,
  makeProposal,
  type NackCode,
  type PresignatureFacts,
  type Proposal,
  type ProposalVerdict,
  preferredSubsets,
  quarantined,
  type SessionSubject,
  type SignedFinalize,
  type SignedProposal,
  subjectKey,
} from "@cairn/signing";
import type { AttemptDeskModules, AttemptDeskOptions } from "./attempt-desk.ts";
import { AttemptLoop, type Attempts } from "./attempt-loop.ts";
import { GrantWaiters } from "./grant-waiters.ts";
import type { Batch } from "./loop.ts";
import { PresignatureStock } from "./presignature-stock.ts";
import { proposalFacts } from "./proposal-facts.ts";
import { ledgerOf } from "./seen-attempts.ts";
import { nackCodeOf, sendNack } from "./send-nack.ts";
import type { SessionOwner } from "./session-owner.ts";
import { signingWork } from "./signing-work.ts";
import type { SpendDesk } from "./spend-desk.ts";
import { unawaited } from "./unawaited.ts";

export interface SignDeskOptions extends AttemptDeskOptions {
  /** How long a proposal may wait here for the certificate that justifies it. */
  readonly grantWaitMs: number;
}

export interface SignDeskModules extends AttemptDeskModules {
  readonly store: Pick<NodeStore, "presignatures" | "presignature" | "sessions">;
  readonly spends: SpendDesk;
  readonly authorisation: Authorisation;
  /** @throws CairnError `not-found` */
  readonly key: (keyId: Grant["keyId"]) => KeyRow;
  /** A peer's signatures of a spend do not verify. */
  readonly forged: (batch: Batch, from: NodeIndex, subject: SessionId) => void;
  /** Nodes that are banned or excluded here. */
  readonly refused: () => ReadonlySet<NodeIndex>;
}

/** A certified spend that is to be signed. */
interface SigningJob {
  readonly hash: IntentHash;
  readonly grant: Grant;
}

/** Attempts at signing what a quorum has approved (architecture §5.5): whose turn it is, who signs, what comes of it. */
export class SignDesk {
  readonly #options: SignDeskOptions;
  readonly #modules: SignDeskModules;
  readonly #attempts: AttemptLoop<GrantId, SigningJob>;
  readonly #waiters: GrantWaiters;
  readonly #stock: PresignatureStock;
  /** Since when this process sees every attempt. */
  readonly #since: UnixMs;

  constructor(options: SignDeskOptions, modules: SignDeskModules) {
    this.#options = options;
    this.#modules = modules;
    this.#waiters = new GrantWaiters(modules.clock, options.grantWaitMs);
    this.#stock = new PresignatureStock(modules);
    this.#since = modules.clock.now();
    this.#attempts = new AttemptLoop(options, {
      ...modules,
      isOpen: (grantId) => this.#isOpen(grantId),
      propose: (grantId, attempts, plan, attempt) => this.#propose(grantId, attempts, plan, attempt),
    });
  }

  /** Whether a session for the spend lives here. */
  signing(hash: IntentHash): boolean {
    return this.#attempts.get(grantIdOf(hash))?.session != null;
  }

  /** Whether an attempt at the spend is under way, here or at others. */
  underWay(hash: IntentHash): boolean {
    const attempts = this.#attempts.get(grantIdOf(hash));
    if (attempts === undefined) return false;
    const { live } = attempts.plan;
    return attempts.session !== null || (live !== null && live.until > this.#modules.clock.now());
  }

  /** A spend was certified: check it, reserve for it, and see to its attempts. */
  begin(hash: IntentHash): void {
    unawaited(this.#begin(hash), this.#modules.report);
  }

  /** Peers came or went: attempts that wait for them are looked at again. */
  peersChanged(): void {
    this.#attempts.wakeAll();
  }

  /** A proposal to sign. What this node can't take part in is answered with a signed Nack. */
  async onProposal(from: NodeIndex, signed: SignedProposal): Promise<void> {
    const refuse = (code: NackCode, message: string) => this.#nack(from, signed, code, message);
    if (from !== signed.body.initiator) {
      return refuse("not-initiator", "the proposal does not come from the initiator that it names");
    }
    const grantId = signed.body.subject as string as GrantId;
    try {
      if (this.#attempts.get(grantId) === undefined) await this.#waiters.wait(from, grantId);
      const job = this.#attempts.get(grantId)?.job;
      if (job === undefined)
        return await refuse("not-found", "this node holds no certificate for that grant");
      await this.#modules.spends.approve(job.hash);
      await this.#join(from, signed, grantId, refuse);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      await refuse(nackCodeOf(error), error.message);
    }
  }

  /** Signatures that others made. Wrong ones are named: an honest node verifies what it sends. */
  async onFinalize(from: NodeIndex, signed: SignedFinalize, session: SessionId): Promise<void> {
    const { loop, sessions, spends, forged } = this.#modules;
    const grantId = signed.body.subject as string as GrantId;
    const hash = this.#attempts.get(grantId)?.job.hash;
    if (hash === undefined || sessions.has(session)) return;
    await loop.run((batch) => {
      if (spends.get(hash)?.row.signedTx !== null) return;
      const observed = this.#attempts.get(grantId)?.observed;
      const signers = observed?.session === session ? observed.signers : [];
      if (spends.signatures.takeIfValid(batch, hash, signed.body.signatures, signers))
        this.#over(batch, grantId);
      else forged(batch, from, session);
    });
  }

  close(): void {
    this.#attempts.close();
    this.#waiters.close();
  }

  async #begin(hash: IntentHash): Promise<void> {
    const { spends, store, ledger, clock, loop } = this.#modules;
    const grantId = grantIdOf(hash);
    if (this.#attempts.get(grantId) !== undefined) return;
    try {
      await spends.approve(hash);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      // What keeps this node from approving may pass while others sign; those who can't ever are simply not among the signers.
      const live = spends.get(hash);
      if (live === undefined || live.voiding || live.row.signedTx !== null) return;
      if (live.row.expiry > clock.now()) {
        this.#attempts.retry(grantId, this.#options.attempts.slotMs / 10, () => this.begin(hash));
      }
    }
    const grant = spends.grantOf(hash)?.grant;
    if (grant === undefined) return;
    const key = this.#modules.key(grant.keyId);
    if (key.status !== "active") {
      throw new CairnError("wrong-state", "the wallet's key is not active", {
        keyId: grant.keyId,
        status: key.status,
      });
    }
    const subject = grantSubject(grant);
    const firstSeenAt = spends.get(hash)?.row.firstSeenAt ?? clock.now();
    const earlier = firstSeenAt > this.#since ? [] : await store.sessions({ subject: subject.subject });
    await loop.run((batch) => {
      if (this.#attempts.get(grantId) !== undefined) return;
      batch.assign(ledger, {
        subjects: new Map([...ledgerOf(earlier).subjects, ...ledger.value.subjects]),
      });
      // The policy's delay counts from this node's own first sight as well (architecture §5.4).
      const held = (firstSeenAt + this.#options.book.manifest.policyDelayMs) as UnixMs;
      this.#attempts.add(batch, grantId, subject, { hash, grant }, held);
      batch.afterwards(() => {
        this.#waiters.wake(grantId);
        this.#attempts.wake(grantId);
      });
    });
  }

  /** Attempts at a spend end when it is signed, given up or gone. */
  async #isOpen(grantId: GrantId): Promise<boolean> {
    const { spends, loop } = this.#modules;
    const hash = this.#attempts.get(grantId)?.job.hash;
    const live = hash === undefined ? undefined : spends.get(hash);
    if (live !== undefined && !live.voiding && live.row.signedTx === null) return true;
    await loop.run((batch) => this.#over(batch, grantId));
    return false;
  }

  /** The spend is signed, given up or gone. Where it is signed no grant of it counts again, nor what was seen of its attempts. */
  #over(batch: Batch, grantId: GrantId): void {
    const { ledger, spends } = this.#modules;
    const attempts = this.#attempts.get(grantId);
    if (attempts === undefined) return;
    this.#attempts.remove(batch, grantId);
    if (spends.get(attempts.job.hash)?.row.signedTx == null) return;
    batch.assign(ledger, forgetSubject(ledger.value, subjectKey(attempts.subject)));
  }

  async #propose(
    grantId: GrantId,
    { job, subject }: Attempts<SigningJob>,
    plan: AttemptPlan,
    attempt: number,
  ): Promise<void> {
    const { me } = this.#options;
    const { spends, loop, signer } = this.#modules;
    const { grant, hash } = job;
    const subsets = spends.get(hash)?.reserved === true ? this.#subsets(hash, subject, plan, attempt) : [];
    const [fallback] = subsets;
    if (fallback === undefined) return this.#attempts.wakeSoon(grantId);
    const key = this.#modules.key(grant.keyId);
    const stock = key.protocol === "cggmp24" ? await this.#stock.readyFor(grant) : [];
    const chosen = choosePresignatures(
      { keyId: key.keyId, epoch: key.epoch },
      stock,
      grant.inputs.map(({ path }) => path),
      subsets,
    );
    const proposal = makeProposal({
      cluster: this.#options.book.manifest.cluster,
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
    const signed = signBody("cairn/proposal/v1", proposal, signer);
    const used = stock.filter((item) => proposal.items?.includes(item.id));
    await loop.run((batch) => {
      const current = this.#attempts.get(grantId);
      if (current === undefined || current.session !== null) return;
      this.#authorise(hash);
      const verdict = this.#judge(me, signed, current.subject);
      if (verdict.verdict !== "accept") return batch.afterwards(() => this.#attempts.wakeSoon(grantId));
      batch.assign(this.#modules.ledger, verdict.ledger);
      this.#open(batch, job, proposal, used, null, plan);
    });
  }

  /** The sets of signers that this node would propose now, best first: all of each are up. */
  #subsets(
    hash: IntentHash,
    subject: SessionSubject,
    plan: AttemptPlan,
    attempt: number,
  ): readonly (readonly NodeIndex[])[] {
    const { clock, refused, standing } = this.#modules;
    const up = this.#modules.up();
    const facts = {
      me: this.#options.me,
      attempt,
      up,
      refused: new Set([...refused(), ...this.#abstaining(hash)]),
      quarantined: quarantined(standing.value, clock.now()),
    };
    return preferredSubsets(plan, subject, facts).filter((subset) => subset.every((node) => up.has(node)));
  }

  /** Who has said that it takes no part in the spend: it voided it, or lost its database. */
  #abstaining(hash: IntentHash): readonly NodeIndex[] {
    const tally = this.#modules.spends.get(hash)?.voting.tally;
    if (tally === undefined) return [];
    const forgetful = [...tally.deferrals.values()].filter(({ code }) => code === "amnesia");
    return [...tally.voids.keys(), ...forgetful.map(({ node }) => node)];
  }

  async #join(
    from: NodeIndex,
    signed: SignedProposal,
    grantId: GrantId,
    refuse: (code: NackCode, message: string) => Promise<void>,
  ): Promise<void> {
    const used = await this.#stock.namedBy(signed.body);
    const refusal = await this.#modules.loop.run((batch) => {
      const current = this.#attempts.get(grantId);
      if (current === undefined) {
        return { code: "grant-invalid", message: "the grant is used up or void at this node" } as const;
      }
      this.#authorise(current.job.hash);
      const verdict = this.#judge(from, signed, current.subject);
      if (verdict.verdict === "refuse") return verdict;
      batch.assign(this.#modules.ledger, verdict.ledger);
      if (verdict.verdict === "observe") this.#attempts.observe(batch, grantId, signed.body);
      else this.#open(batch, current.job, signed.body, used, signed);
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

  #judge(from: NodeIndex, signed: SignedProposal, subject: SessionSubject): ProposalVerdict {
    const { driver, ledger, clock } = this.#modules;
    return driver.judge(ledger.value, signed, proposalFacts(this.#options, clock, from, subject));
  }

  /**
   * Opens the attempt's session.
   * @param signed the initiator's proposal as it signed it; null at the initiator
   * @param plan the plan that the attempt follows from, at the initiator
   */
  #open(
    batch: Batch,
    { hash, grant }: SigningJob,
    proposal: Proposal,
    used: readonly PresignatureFacts[],
    signed: SignedProposal | null,
    plan?: AttemptPlan,
  ): void {
    const { sessions, spends } = this.#modules;
    const live = spends.get(hash);
    if (live == null || live.checked === null) {
      throw new CairnError("wrong-state", "the spend was not checked here", { intent: hash });
    }
    const work = signingWork(
      this.#modules.key(grant.keyId),
      live.checked,
      proposal,
      this.#stock.current(used),
    );
    this.#attempts.began(batch, grant.grantId, proposal, plan);
    if (live.row.state === "approved") spends.update(batch, hash, { state: "signing" });
    sessions.open(batch, proposal, work, this.#owner(hash, proposal), this.#options.timeouts, signed);
  }

  #owner(hash: IntentHash, proposal: Proposal): SessionOwner {
    const { spends } = this.#modules;
    const grantId = grantIdOf(hash);
    return this.#attempts.owner(grantId, proposal, {
      finished: (batch, result) => {
        if (result.kind !== "signatures") return;
        spends.signatures.take(batch, hash, result.signatures, proposal.signers);
        this.#over(batch, grantId);
      },
      failed: (batch, { code, excluded }) => {
        if (spends.get(hash)?.row.state === "signing") spends.update(batch, hash, { state: "approved" });
        batch.audit("attempt-failed", hash, {
          attempt: proposal.attempt,
          code,
          excluded: excluded.join(","),
        });
      },
    });
  }

  #nack(to: NodeIndex, signed: SignedProposal, code: NackCode, message: string): Promise<void> {
    const { me } = this.#options;
    return this.#modules.loop.run((batch) =>
      sendNack(batch, { me, to, proposal: signed.body, code, message }, this.#modules.signer),
    );
  }
}
