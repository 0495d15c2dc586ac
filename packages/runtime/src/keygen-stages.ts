import {
  CairnError,
  type ExecutionId,
  type HashHex,
  type KeyId,
  type NodeIndex,
  type NodeStore,
  publicPackageHash,
  type SessionId,
  signBody,
} from "@cairn/core";
import {
  type AttemptPlan,
  type Engine,
  type EngineResult,
  type EngineWork,
  type KeygenEvent,
  type KeygenStage,
  keygenSubject,
  makeProposal,
  type NackCode,
  type Proposal,
  type SessionSubject,
  type SignedFinalize,
  type SignedProposal,
  subjectKey,
  testSigningItem,
  testSubsets,
  welcomesStage,
} from "@cairn/signing";
import type { AttemptDeskModules, AttemptDeskOptions } from "./attempt-desk.ts";
import { AttemptLoop, type Attempts } from "./attempt-loop.ts";
import type { LiveKeys } from "./live-keys.ts";
import type { Batch } from "./loop.ts";
import { proposalFacts } from "./proposal-facts.ts";
import { nackCodeOf, sendNack } from "./send-nack.ts";
import type { SessionOwner } from "./session-owner.ts";

export interface KeygenStagesOptions extends AttemptDeskOptions {
  /** Names the set of parties that auxiliary information is shared by. */
  readonly parties: HashHex;
}

export interface KeygenStagesModules extends AttemptDeskModules {
  readonly store: Pick<NodeStore, "auxiliary">;
  readonly engine: Engine;
  readonly keys: LiveKeys;
  /** A peer's test signature does not verify. */
  readonly forged: (batch: Batch, from: NodeIndex, subject: SessionId) => void;
  /** Feeds what a stage came to to its key's machine. */
  readonly step: (batch: Batch, keyId: KeyId, event: KeygenEvent) => void;
}

/** One stage of one key, which needs all of `signers`. */
interface StageJob {
  readonly keyId: KeyId;
  readonly stage: KeygenStage;
  readonly signers: readonly NodeIndex[];
}

type Refusal = { readonly code: NackCode; readonly message: string };

/** Sessions of others that are remembered at a time. */
const MAX_OBSERVED = 256;

/** Attempts at the stages of making keys: auxiliary information, shares, test signatures. */
export class KeygenStages {
  readonly #options: KeygenStagesOptions;
  readonly #modules: KeygenStagesModules;
  readonly #attempts: AttemptLoop<string, StageJob>;
  readonly #members: readonly NodeIndex[];
  /** Sessions of test signatures in which others sign, oldest first. */
  readonly #observed = new Map<SessionId, { readonly keyId: KeyId; readonly part: number }>();

  constructor(options: KeygenStagesOptions, modules: KeygenStagesModules) {
    this.#options = options;
    this.#modules = modules;
    this.#members = options.book.manifest.members.map(({ index }) => index);
    this.#attempts = new AttemptLoop(options, {
      ...modules,
      isOpen: async () => true,
      propose: (key, attempts, plan, attempt) => this.#propose(key, attempts, plan, attempt),
    });
  }

  /** Sees to attempts at a stage, where this node is one of its signers. */
  run(batch: Batch, keyId: KeyId, stage: KeygenStage, signers: readonly NodeIndex[]): void {
    if (!signers.includes(this.#options.me)) return;
    const subject = keygenSubject(this.#modules.keys.of(keyId).request.body, stage, signers);
    const key = subjectKey(subject);
    if (this.#attempts.get(key) !== undefined) return;
    this.#attempts.add(batch, key, subject, { keyId, stage, signers });
    batch.afterwards(() => this.#attempts.wake(key));
  }

  /** No stage of the key is worked at any more. */
  stop(batch: Batch, keyId: KeyId): void {
    for (const [session, observed] of this.#observed) {
      if (observed.keyId === keyId) batch.remove(this.#observed, session);
    }
    for (const [key, { job }] of this.#attempts.entries()) {
      if (job.keyId === keyId) this.#attempts.remove(batch, key);
    }
    batch.afterwards(() => this.#modules.keys.progressed(keyId, null));
  }

  /** A peer opens an attempt at a stage. */
  async onProposal(from: NodeIndex, signed: SignedProposal): Promise<void> {
    const proposal = signed.body;
    const spec = await this.#work(proposal);
    await this.#modules.loop.run((batch) => {
      const refusal = this.#accept(batch, from, signed, spec);
      if (refusal === null) return;
      sendNack(batch, { me: this.#options.me, to: from, proposal, ...refusal }, this.#modules.signer);
    });
  }

  /** Test signatures that others made. Wrong ones are named: an honest node verifies what it sends. */
  async onFinalize(from: NodeIndex, signed: SignedFinalize, session: SessionId): Promise<void> {
    const { engine, keys, loop, forged, step } = this.#modules;
    const observed = this.#observed.get(session);
    if (observed === undefined) return;
    const { keyId, part } = observed;
    const signers = testSubsets(this.#members, this.#options.book.manifest.threshold)[part];
    const [signature] = signed.body.signatures;
    if (signers === undefined || signature === undefined) return;
    const publicPackage = keys.publicPackage(keyId);
    const valid = await engine.verify({ publicPackage, ...this.#testItem(keyId, signers), signature });
    await loop.run((batch) => {
      if (valid) step(batch, keyId, { event: "test-verified", part, signatures: [signature] });
      else forged(batch, from, session);
    });
  }

  /** Peers came or went: stages that wait for them are looked at again. */
  peersChanged(): void {
    this.#attempts.wakeAll();
  }

  close(): void {
    this.#attempts.close();
  }

  async #propose(
    key: string,
    { job, subject }: Attempts<StageJob>,
    plan: AttemptPlan,
    attempt: number,
  ): Promise<void> {
    const { me, protocolVersions, book } = this.#options;
    const { manifest } = book;
    const up = this.#modules.up();
    // A stage needs all of its signers: an attempt without one of them would only use up its turn.
    if (!job.signers.every((node) => up.has(node))) return this.#attempts.wakeSoon(key);
    const proposal = makeProposal({
      cluster: manifest.cluster,
      purpose: "keygen",
      subject: subject.subject,
      stage: job.stage,
      job: null,
      attempt,
      initiator: me,
      signers: [...job.signers],
      protocolVersion: Math.max(
        ...protocolVersions.filter((version) => manifest.protocolVersions.includes(version)),
      ),
      items: null,
    });
    const signed = signBody("cairn/proposal/v1", proposal, this.#modules.signer);
    const spec = await this.#work(proposal);
    await this.#modules.loop.run((batch) => {
      const current = this.#attempts.get(key);
      if (current === undefined || current.session !== null) return;
      const refusal = this.#accept(batch, me, signed, spec, plan);
      if (refusal !== null) batch.afterwards(() => this.#attempts.wakeSoon(key));
    });
  }

  /**
   * Takes part in an attempt, or watches it.
   * @param plan the plan that the attempt follows from, at its initiator
   * @returns why this node does neither, or null
   */
  #accept(
    batch: Batch,
    from: NodeIndex,
    signed: SignedProposal,
    spec: EngineWork | CairnError,
    plan?: AttemptPlan,
  ): Refusal | null {
    const { me, timeouts } = this.#options;
    const { clock, driver, keys, ledger, sessions } = this.#modules;
    const proposal = signed.body;
    const { stage } = proposal;
    const keyId = keyOf(proposal);
    const live = keys.get(keyId);
    if (live === undefined || stage === null || !welcomesStage(live.state, stage)) {
      return { code: "wrong-state", message: "the key is not at that stage here" };
    }
    const subject: SessionSubject = keygenSubject(live.request.body, stage, this.#signersOf(stage));
    const facts = proposalFacts(this.#options, clock, from, subject);
    const verdict = driver.judge(ledger.value, signed, facts);
    if (verdict.verdict === "refuse") return { code: verdict.code, message: verdict.message };
    if (verdict.verdict === "observe") {
      batch.assign(ledger, verdict.ledger);
      this.#observe(batch, proposal.sessionId, keyId, stage);
      return null;
    }
    if (spec instanceof CairnError) return { code: nackCodeOf(spec), message: spec.message };
    const key = subjectKey(subject);
    if (this.#attempts.get(key) === undefined)
      this.#attempts.add(batch, key, subject, { keyId, stage, signers: proposal.signers });
    batch.assign(ledger, verdict.ledger);
    this.#attempts.began(batch, key, proposal, plan);
    const owner = this.#owner(keyId, key, stage, proposal);
    sessions.open(batch, proposal, { kind: "engine", spec }, owner, timeouts, from === me ? null : signed);
    return null;
  }

  #observe(batch: Batch, session: SessionId, keyId: KeyId, { part }: KeygenStage): void {
    batch.put(this.#observed, session, { keyId, part });
    const [oldest] = this.#observed.keys();
    if (this.#observed.size > MAX_OBSERVED && oldest !== undefined) batch.remove(this.#observed, oldest);
  }

  /** What the engine is asked to do for a proposal; an error where this node lacks something for it. */
  async #work(proposal: Proposal): Promise<EngineWork | CairnError> {
    const keyId = keyOf(proposal);
    const live = this.#modules.keys.get(keyId);
    if (live === undefined || proposal.stage === null) {
      return new CairnError("not-found", "this node knows no such keygen request", { keyId });
    }
    const { row, request } = live;
    const parties = [...this.#members];
    switch (proposal.stage.step) {
      case "aux":
        return { kind: "cggmp24-aux", parties };
      case "keygen": {
        const base = { keyId, epoch: row.epoch, parties, threshold: request.body.threshold };
        if (row.protocol === "frost") return { kind: "frost-keygen", ...base };
        const sealedAux = await this.#modules.store.auxiliary(this.#options.parties);
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
    const { keys } = this.#modules;
    return testSigningItem({
      cluster: this.#options.book.manifest.cluster,
      keyId,
      protocol: keys.of(keyId).row.protocol,
      publicPackage: publicPackageHash(keys.publicPackage(keyId)),
      subset,
    });
  }

  #owner(keyId: KeyId, key: string, stage: KeygenStage, proposal: Proposal): SessionOwner {
    const { keys, step } = this.#modules;
    const { attempt } = proposal;
    return this.#attempts.owner(key, proposal, {
      progress: ({ round, rounds }) => {
        keys.progressed(keyId, rounds === 0 ? 0 : Math.min(1, round / rounds));
      },
      finished: (batch, result) => {
        this.#attempts.remove(batch, key);
        const event: KeygenEvent =
          result.kind === "signatures"
            ? { event: "test-verified", part: stage.part, signatures: result.signatures }
            : madeBy(attempt, result.execution, result.result);
        step(batch, keyId, event);
      },
      failed: (batch, { code, blamed, started }) => {
        batch.audit("keygen-attempt-failed", keyId, {
          step: stage.step,
          attempt,
          code,
          blamed: blamed.join(","),
        });
        // A peer that is not at that stage yet refuses; only what was begun and failed counts against the key.
        if (started) step(batch, keyId, { event: "stage-ended", stage, code, blamed });
      },
    });
  }

  #signersOf(stage: KeygenStage): readonly NodeIndex[] {
    if (stage.step !== "test") return this.#members;
    return testSubsets(this.#members, this.#options.book.manifest.threshold)[stage.part] ?? [];
  }
}

function keyOf(proposal: Proposal): KeyId {
  return proposal.subject as string as KeyId;
}

function madeBy(attempt: number, execution: ExecutionId, result: EngineResult): KeygenEvent {
  switch (result.kind) {
    case "cggmp24-aux":
      return { event: "aux-finished", execution, sealedAux: result.sealedAux };
    case "cggmp24-keygen":
    case "frost-keygen": {
      const { sealedShare, publicPackage } = result;
      return { event: "keygen-finished", attempt, sealedShare, publicPackage };
    }
    default:
      throw new CairnError("internal", "a key generation's session made something else than a key", {
        kind: result.kind,
      });
  }
}
