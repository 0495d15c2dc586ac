import {
  CairnError,
  isCairnError,
  type KeyId,
  type KeyPath,
  type KeyRow,
  type NodeIndex,
  type NodeStore,
  type PresignatureRow,
  type SessionId,
  signBody,
  type Timer,
} from "@cairn/core";
import {
  endAttempt,
  type InventoryKey,
  type InventorySettings,
  type InventoryStatus,
  inventoryStatus,
  isLawfulJob,
  makeProposal,
  type PresignJob,
  type ProposalFacts,
  planPresigning,
  presignSubject,
  quarantined,
  type SessionWork,
  type SignedProposal,
  standingAfterFailure,
  standingAfterSuccess,
  type WantedPath,
} from "@cairn/signing";
import type { AttemptDeskModules, AttemptDeskOptions } from "./attempt-desk.ts";
import type { Batch } from "./loop.ts";
import { PendingPresignatures } from "./pending-presignatures.ts";
import { proposalFacts } from "./proposal-facts.ts";
import { sendNack } from "./send-nack.ts";
import type { SessionOwner } from "./session-owner.ts";
import { unawaited } from "./unawaited.ts";
import type { WalletBook } from "./wallet-book.ts";

export interface PresignDeskOptions extends AttemptDeskOptions {
  readonly inventory: InventorySettings;
}

export interface PresignDeskModules extends AttemptDeskModules {
  readonly store: Pick<NodeStore, "presignatures">;
  readonly wallets: WalletBook;
  readonly keys: { active(keyId: KeyId): KeyRow; all(): readonly KeyRow[] };
  /** Nodes that are banned or excluded here. */
  readonly refused: () => ReadonlySet<NodeIndex>;
  /** The stock of a key changed. */
  readonly changed: (keyId: KeyId) => void;
}

/** Makes presignatures where coins are, and lets one be used only when all its signers have signed the hash of its public data. */
export class PresignDesk {
  readonly #options: PresignDeskOptions;
  readonly #modules: PresignDeskModules;
  readonly #pending: PendingPresignatures;
  /** Jobs of the sessions that live here. */
  readonly #running = new Map<SessionId, PresignJob>();
  #timer: Timer | null = null;
  #planning: Promise<void> | null = null;
  #closed = false;

  constructor(options: PresignDeskOptions, modules: PresignDeskModules) {
    this.#options = options;
    this.#modules = modules;
    this.#pending = new PendingPresignatures(options, modules);
  }

  start(): void {
    unawaited(this.#pending.discardAll(), this.#modules.report);
    this.#schedule(this.#options.inventory.checkMs);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /** The chain moved: deposits and change may want presignatures before anyone asks to spend them. */
  walletsMoved(): void {
    if (this.#options.inventory.target > 0) this.#schedule(Math.min(2_000, this.#options.inventory.checkMs));
  }

  /** Stock of every ECDSA key. */
  async status(): Promise<
    readonly { readonly keyId: KeyId; readonly status: InventoryStatus; readonly burned: number }[]
  > {
    const settings = this.#options.inventory;
    return Promise.all(
      this.#ecdsaKeys().map(async (row) => {
        const stock = await this.#modules.store.presignatures({ keyId: row.keyId });
        const status = inventoryStatus(
          this.#key(row),
          stock,
          await this.#wanted(row.keyId),
          this.#modules.up(),
          settings,
        );
        return { keyId: row.keyId, status, burned: stock.filter((item) => item.state === "burned").length };
      }),
    );
  }

  /**
   * Makes up to `count` presignatures now for the coins of a key, in batches, at this node's turns and beyond them.
   * @returns how many were asked of the other signers
   * @throws CairnError `not-found`, `wrong-state`, `quorum-missing`
   */
  async generate(keyId: KeyId, count: number): Promise<number> {
    const row = this.#modules.keys.active(keyId);
    if (row.protocol !== "cggmp24") {
      throw new CairnError(
        "wrong-state",
        "only ECDSA keys have presignatures; FROST signs in two quick rounds",
        { keyId },
      );
    }
    const { length: live } = await this.#stock(keyId);
    const settings = { ...this.#options.inventory, target: live + count, refillBelow: live + count };
    const jobs = await this.#plan(row, settings);
    if (jobs.length === 0) {
      throw new CairnError(
        "quorum-missing",
        "no signer set that this node may lead now has coins without presignatures; try again in a while, or at another node",
        { keyId },
      );
    }
    for (const job of jobs) await this.#propose(row, job);
    return jobs.reduce((sum, job) => sum + job.paths.length, 0);
  }

  /** A peer wants to make presignatures. */
  async onProposal(from: NodeIndex, signed: SignedProposal): Promise<void> {
    const { job } = signed.body;
    if (job === null) return;
    await this.#modules.loop.run((batch) => {
      const refusal = this.#accept(batch, from, signed, job);
      if (refusal === null) return;
      sendNack(
        batch,
        { me: this.#options.me, to: from, proposal: signed.body, ...refusal },
        this.#modules.signer,
      );
    });
  }

  /** A signer's words on what a session made. */
  onReady(from: NodeIndex, payload: Uint8Array): Promise<void> {
    return this.#pending.onReady(from, payload);
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return;
    this.#timer?.cancel();
    this.#timer = this.#modules.clock.after(delayMs, () => {
      this.#planning ??= this.#check().finally(() => {
        this.#planning = null;
        this.#schedule(this.#options.inventory.checkMs);
      });
      unawaited(this.#planning, this.#modules.report);
    });
  }

  async #check(): Promise<void> {
    // Signing comes first: presigning waits until nothing else wants the processors.
    if (this.#modules.sessions.count > 0) return this.#schedule(2_000);
    for (const row of this.#ecdsaKeys()) {
      for (const job of await this.#plan(row, this.#options.inventory)) await this.#propose(row, job);
    }
  }

  async #plan(row: KeyRow, settings: InventorySettings): Promise<readonly PresignJob[]> {
    const { up, refused, clock, standing } = this.#modules;
    return planPresigning(
      this.#key(row),
      await this.#stock(row.keyId),
      await this.#wanted(row.keyId),
      {
        me: this.#options.me,
        up: up(),
        refused: refused(),
        quarantined: quarantined(standing.value, clock.now()),
        now: clock.now(),
      },
      settings,
    );
  }

  /** What is ready or in the making: those of the past are many, and plan nothing. */
  async #stock(keyId: KeyId): Promise<readonly PresignatureRow[]> {
    const { store } = this.#modules;
    const ready = await store.presignatures({ keyId, state: "ready" });
    return [...ready, ...(await store.presignatures({ keyId, state: "pending" }))];
  }

  async #propose(row: KeyRow, job: PresignJob): Promise<void> {
    const subject = presignSubject(job, this.#options.inventory.checkMs);
    const proposal = makeProposal({
      cluster: job.cluster,
      purpose: "presign",
      subject: subject.subject,
      stage: null,
      job,
      attempt: 0,
      initiator: this.#options.me,
      signers: job.signers,
      protocolVersion: Math.max(...this.#options.protocolVersions),
      items: null,
    });
    const signed = signBody("cairn/proposal/v1", proposal, this.#modules.signer);
    await this.#modules.loop.run((batch) => {
      const verdict = this.#modules.driver.judge(
        this.#modules.ledger.value,
        signed,
        this.#facts(this.#options.me, job),
      );
      if (verdict.verdict !== "accept" || this.#isRunning(job)) return;
      batch.assign(this.#modules.ledger, verdict.ledger);
      this.#open(batch, row, signed, job, null);
    });
  }

  #accept(batch: Batch, from: NodeIndex, signed: SignedProposal, job: PresignJob) {
    const { inventory } = this.#options;
    let row: KeyRow;
    try {
      row = this.#modules.keys.active(job.keyId);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      return { code: "not-found" as const, message: error.message };
    }
    if (row.protocol !== "cggmp24") {
      return { code: "wrong-state" as const, message: "the key's protocol has no presignatures" };
    }
    if (!isLawfulJob(this.#key(row), job, this.#modules.clock.now(), inventory)) {
      return { code: "subset-invalid" as const, message: "the job is not one that this node takes part in" };
    }
    if (this.#isRunning(job)) {
      return { code: "limit-exceeded" as const, message: "these signers make presignatures of the key now" };
    }
    const verdict = this.#modules.driver.judge(this.#modules.ledger.value, signed, this.#facts(from, job));
    if (verdict.verdict === "refuse") return { code: verdict.code, message: verdict.message };
    batch.assign(this.#modules.ledger, verdict.ledger);
    if (verdict.verdict === "accept") this.#open(batch, row, signed, job, signed);
    return null;
  }

  /** One job of a key and signer set at a time: presigning costs every signer seconds of work, and any signer may ask for it. */
  #isRunning(job: PresignJob): boolean {
    return [...this.#running.values()].some(
      ({ keyId, signers }) => keyId === job.keyId && signers.join() === job.signers.join(),
    );
  }

  #open(
    batch: Batch,
    row: KeyRow,
    signed: SignedProposal,
    job: PresignJob,
    received: SignedProposal | null,
  ): void {
    if (row.sealedShare === null)
      throw new CairnError("wrong-state", "the key has no share here", { keyId: row.keyId });
    batch.put(this.#running, signed.body.sessionId, job);
    const work: SessionWork = {
      kind: "engine",
      spec: {
        kind: "cggmp24-presign",
        keyId: row.keyId,
        epoch: row.epoch,
        signers: job.signers,
        sealedShare: row.sealedShare,
      },
    };
    this.#modules.sessions.open(
      batch,
      signed.body,
      work,
      this.#owner(job, signed.body.sessionId),
      this.#options.timeouts,
      received,
    );
  }

  #owner(job: PresignJob, session: SessionId): SessionOwner {
    const { ledger, standing, clock } = this.#modules;
    return {
      progress: () => {},
      finished: (batch, result) => {
        batch.assign(ledger, endAttempt(ledger.value, session));
        batch.assign(standing, standingAfterSuccess(standing.value, job.signers, clock.now()));
        batch.remove(this.#running, session);
        if (result.kind === "engine" && result.result.kind === "cggmp24-presign")
          this.#pending.add(batch, job, session, result.execution, result.result);
      },
      ended: (batch, end) => {
        batch.assign(ledger, endAttempt(ledger.value, session));
        batch.assign(standing, standingAfterFailure(standing.value, end.excluded, clock.now()));
        batch.remove(this.#running, session);
        batch.audit("presigning-failed", session, { code: end.code, excluded: end.excluded.join(",") });
      },
    };
  }

  /** Paths that hold coins, and the next change address, whose coin the next spend makes. */
  async #wanted(keyId: KeyId): Promise<readonly WantedPath[]> {
    const wanted = new Map<string, { path: KeyPath; outputs: number }>();
    for (const { row } of this.#modules.wallets.all()) {
      if (row.keyId !== keyId) continue;
      const view = await this.#modules.wallets.view(row.wallet, 10_000);
      const change: KeyPath = [1, view.nextChangeIndex];
      wanted.set(change.join("/"), { path: change, outputs: 1 });
      for (const { path } of view.coins) {
        const outputs = (wanted.get(path.join("/"))?.outputs ?? 0) + 1;
        wanted.set(path.join("/"), { path, outputs });
      }
    }
    return [...wanted.values()];
  }

  #ecdsaKeys(): readonly KeyRow[] {
    return this.#modules.keys.all().filter((row) => row.protocol === "cggmp24" && row.status === "active");
  }

  #key(row: KeyRow): InventoryKey {
    const { manifest } = this.#options.book;
    return {
      cluster: manifest.cluster,
      keyId: row.keyId,
      epoch: row.epoch,
      members: manifest.members.map(({ index }) => index),
      threshold: manifest.threshold,
    };
  }

  #facts(from: NodeIndex, job: PresignJob): ProposalFacts {
    const subject = presignSubject(job, this.#options.inventory.checkMs);
    return proposalFacts(this.#options, this.#modules.clock, from, subject);
  }
}
