import type { SignedPublicDataAcceptance } from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  decodeCanonical,
  encodeCanonical,
  isCairnError,
  type KeyId,
  type KeyPath,
  type KeyRow,
  type Manifest,
  type NodeIndex,
  type NodeStore,
  type PresignatureId,
  type PresignatureRow,
  type SessionId,
  type Signer,
  signBody,
  type Timer,
} from "@cairn/core";
import {
  type AttemptLedger,
  type AttemptSettings,
  acceptPublicData,
  type Driver,
  endAttempt,
  type InventoryKey,
  type InventorySettings,
  type InventoryStatus,
  inventoryStatus,
  isLawfulJob,
  makePresignReady,
  makeProposal,
  type PendingPresignature,
  type PresignJob,
  type ProposalFacts,
  planPresigning,
  presignReadySchema,
  presignSubject,
  publicDataAcceptance,
  type SessionResult,
  type SessionTimeouts,
  type SessionWork,
  type SignedProposal,
  type WantedPath,
} from "@cairn/signing";
import type { Batch, Cell, Loop } from "./loop.ts";
import { proposalFacts } from "./proposal-facts.ts";
import { sendNack } from "./send-nack.ts";
import type { SessionDesk, SessionOwner } from "./session-desk.ts";
import type { WalletBook } from "./wallet-book.ts";

export interface PresignDeskOptions {
  readonly me: NodeIndex;
  readonly manifest: Manifest;
  readonly protocolVersions: readonly number[];
  readonly attempts: AttemptSettings;
  readonly timeouts: SessionTimeouts;
  readonly inventory: InventorySettings;
}

export interface PresignDeskModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "presignatures">;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly sessions: SessionDesk;
  readonly wallets: WalletBook;
  readonly keys: { active(keyId: KeyId): KeyRow; all(): readonly KeyRow[] };
  readonly ledger: Cell<AttemptLedger>;
  readonly driver: Driver;
  readonly up: () => ReadonlySet<NodeIndex>;
  readonly refused: () => ReadonlySet<NodeIndex>;
  /** The stock of a key changed. */
  readonly changed: (keyId: KeyId) => void;
  readonly report: (cause: unknown) => void;
}

/** What a finished execution made here, until all signers have spoken. */
interface Pending {
  readonly keyId: KeyId;
  readonly item: PendingPresignature;
}

/** Words of the other signers that are kept for one session before this node's own result is there. */
const MAX_EARLY_WORDS = 1024;

/** Makes presignatures where coins are, and lets one be used only when all its signers have signed the hash of its public data. */
export class PresignDesk {
  readonly #options: PresignDeskOptions;
  readonly #modules: PresignDeskModules;
  readonly #pending = new Map<PresignatureId, Pending>();
  readonly #early = new Map<
    SessionId,
    readonly { readonly from: NodeIndex; readonly signed: SignedPublicDataAcceptance }[]
  >();
  readonly #identities: ReadonlyMap<NodeIndex, Manifest["members"][number]["identity"]>;
  #timer: Timer | null = null;
  #planning: Promise<void> | null = null;
  #closed = false;

  constructor(options: PresignDeskOptions, modules: PresignDeskModules) {
    this.#options = options;
    this.#modules = modules;
    this.#identities = new Map(options.manifest.members.map((member) => [member.index, member.identity]));
  }

  start(): void {
    this.#later(this.#discardPending());
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
    const stock = await this.#modules.store.presignatures({ keyId });
    const live = stock.filter((item) => item.state === "ready" || item.state === "pending").length;
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
  async onReady(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const { session, cluster, acceptances } = decodeCanonical(presignReadySchema, payload);
    if (cluster !== this.#options.manifest.cluster) {
      throw new CairnError("wrong-cluster", "the words are for another cluster");
    }
    await this.#modules.loop.run((batch) => {
      for (const signed of acceptances) this.#take(batch, session, from, signed);
    });
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return;
    this.#timer?.cancel();
    this.#timer = this.#modules.clock.after(delayMs, () => {
      this.#planning ??= this.#check().finally(() => {
        this.#planning = null;
        this.#schedule(this.#options.inventory.checkMs);
      });
      this.#later(this.#planning);
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
    const { store, up, refused, clock } = this.#modules;
    return planPresigning(
      this.#key(row),
      await store.presignatures({ keyId: row.keyId }),
      await this.#wanted(row.keyId),
      { me: this.#options.me, up: up(), refused: refused(), now: clock.now() },
      settings,
    );
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
      if (verdict.verdict !== "accept") return;
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
    if (!isLawfulJob(this.#key(row), job, this.#modules.clock.now(), inventory)) {
      return { code: "subset-invalid" as const, message: "the job is not one that this node takes part in" };
    }
    const verdict = this.#modules.driver.judge(this.#modules.ledger.value, signed, this.#facts(from, job));
    if (verdict.verdict === "refuse") return { code: verdict.code, message: verdict.message };
    batch.assign(this.#modules.ledger, verdict.ledger);
    if (verdict.verdict === "accept") this.#open(batch, row, signed, job, signed);
    return null;
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
    const { ledger } = this.#modules;
    return {
      progress: () => {},
      finished: (batch, result) => {
        batch.assign(ledger, endAttempt(ledger.value, session));
        this.#made(batch, job, session, result);
      },
      ended: (batch, end) => {
        batch.assign(ledger, endAttempt(ledger.value, session));
        batch.audit("presigning-failed", session, { code: end.code, excluded: end.excluded.join(",") });
      },
    };
  }

  /** Stores what the execution made, as pending, and tells the other signers the hash of each item's public data. */
  #made(batch: Batch, job: PresignJob, session: SessionId, result: SessionResult): void {
    if (result.kind !== "engine" || result.result.kind !== "cggmp24-presign") return;
    const { items } = result.result;
    items.forEach(({ presignatureId, sealed, publicData }, at) => {
      const path: KeyPath | undefined = job.paths[at];
      if (path === undefined)
        throw new CairnError("internal", "an execution made more presignatures than were asked for");
      const row: PresignatureRow = {
        id: presignatureId,
        keyId: job.keyId,
        path,
        epoch: job.epoch,
        signers: job.signers,
        state: "pending",
        sealed,
        publicData,
        acceptances: null,
        session,
        usedBy: null,
        burnCounter: null,
        createdAt: this.#modules.clock.now(),
        burnedAt: null,
      };
      batch.write({ write: "presignature", row });
      batch.put(this.#pending, presignatureId, {
        keyId: job.keyId,
        item: { presignatureId, signers: job.signers, publicData, acceptances: [] },
      });
    });
    const { cluster } = this.#options.manifest;
    const words = items.map(({ presignatureId, publicData }) =>
      publicDataAcceptance({
        cluster,
        node: this.#options.me,
        presignatureId,
        signers: job.signers,
        publicData,
      }),
    );
    const ready = makePresignReady(session, words, cluster, this.#modules.signer);
    const others = job.signers.filter((node) => node !== this.#options.me);
    batch.post(others, `presign-ready/${session}/${result.execution}`, {
      kind: "presign-ready",
      session,
      round: 0,
      payload: encodeCanonical(ready),
      trace: null,
    });
    for (const signed of ready.acceptances) this.#take(batch, session, this.#options.me, signed);
    const early = this.#early.get(session) ?? [];
    batch.remove(this.#early, session);
    for (const { from, signed } of early) this.#take(batch, session, from, signed);
  }

  #take(batch: Batch, session: SessionId, from: NodeIndex, signed: SignedPublicDataAcceptance): void {
    const id = signed.body.subject as string as PresignatureId;
    const pending = this.#pending.get(id);
    if (pending === undefined) return this.#keepEarly(batch, session, from, signed);
    const readiness = acceptPublicData(pending.item, from, signed, {
      cluster: this.#options.manifest.cluster,
      identities: this.#identities,
    });
    switch (readiness.verdict) {
      case "pending":
        return batch.put(this.#pending, id, { ...pending, item: readiness.item });
      case "ready":
        batch.write({
          write: "presignature-state",
          id,
          state: "ready",
          acceptances: encodeCanonical(readiness.item.acceptances),
        });
        batch.remove(this.#pending, id);
        batch.audit("presignature-ready", id, {
          keyId: pending.keyId,
          signers: pending.item.signers.join(","),
        });
        return batch.afterwards(() => this.#modules.changed(pending.keyId));
      case "discard":
        batch.write({ write: "presignature-state", id, state: "discarded" });
        batch.remove(this.#pending, id);
        return batch.audit("presignature-disputed", id, { node: readiness.node });
      case "refuse":
        return batch.audit("message-refused", id, { from, kind: "presign-ready", code: "signature-invalid" });
    }
  }

  /** Another signer may be done before this node: its words wait for this node's own result. */
  #keepEarly(batch: Batch, session: SessionId, from: NodeIndex, signed: SignedPublicDataAcceptance): void {
    if (!this.#modules.sessions.has(session)) return;
    const kept = this.#early.get(session) ?? [];
    if (kept.length >= MAX_EARLY_WORDS) {
      throw new CairnError(
        "rate-limited",
        "too many words about presignatures that this node does not know",
        { node: from },
      );
    }
    batch.put(this.#early, session, [...kept, { from, signed }]);
  }

  /** What was pending when the node went down stays so: the others' words are gone. It was never usable. */
  async #discardPending(): Promise<void> {
    const rows = await this.#modules.store.presignatures({ state: "pending" });
    if (rows.length === 0) return;
    await this.#modules.loop.run((batch) => {
      for (const { id } of rows) batch.write({ write: "presignature-state", id, state: "discarded" });
    });
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
    const { manifest } = this.#options;
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

  #later(work: Promise<void>): void {
    work.catch((cause: unknown) => {
      if (!isCairnError(cause, "closed")) this.#modules.report(cause);
    });
  }
}
