import {
  CairnError,
  type Clock,
  type Courier,
  type ExecutionId,
  isCairnError,
  type Manifest,
  type NodeIndex,
  type NodeStore,
  type Nonce,
  type PeerMessage,
  type PresignatureId,
  type Random,
  SealingKey,
  type SessionId,
  type SessionRow,
  type Signer,
  type Timer,
  toHex,
} from "@cairn/core";
import {
  type AbortCode,
  type Engine,
  type EngineListener,
  type EngineSession,
  encodeSessionMessage,
  makesShares,
  openSession,
  type Proposal,
  type SessionEffect,
  type SessionEvent,
  type SessionMessage,
  type SessionState,
  type SessionStep,
  type SessionTimeouts,
  type SessionViolation,
  type SessionWork,
  type SignedProposal,
  signMessage,
  stepSession,
  subjectKey,
} from "@cairn/signing";
import type { Batch, Loop } from "./loop.ts";
import type { InForce } from "./manifest-book.ts";
import type { SessionOwner } from "./session-owner.ts";
import { SessionWorker } from "./session-worker.ts";
import { unawaited } from "./unawaited.ts";

export interface SessionDeskOptions {
  readonly me: NodeIndex;
  readonly book: Pick<InForce, "manifest">;
}

export interface SessionDeskModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "burn" | "presignature">;
  readonly courier: Courier;
  readonly engine: Engine;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly random: Random;
  /** Public package of a key of this node. @throws CairnError `not-found` */
  readonly publicPackage: (keyId: SessionKeyId) => Uint8Array;
  /** A fault that a session saw. */
  readonly violation: (batch: Batch, violation: SessionViolation, session: SessionId) => void;
  /** A session began, went on or ended: for events and metrics. */
  readonly changed: (row: SessionRow) => void;
  /** Something failed that nobody waits for. */
  readonly report: (cause: unknown) => void;
}

type SessionKeyId = Extract<SessionEffect, { readonly effect: "combine" }>["keyId"];

/** What a commit must be able to undo. */
interface LiveSession {
  readonly state: SessionState;
  readonly row: SessionRow;
  readonly owner: SessionOwner;
}

/** What lives outside of commits. */
interface Handles {
  readonly sealing: SealingKey | null;
  engine: EngineSession | null;
  timer: Timer | null;
}

type EffectOf<Kind extends SessionEffect["effect"]> = Extract<SessionEffect, { readonly effect: Kind }>;

/** Carries this node's live sessions: feeds their machines, and carries out what they ask for. */
export class SessionDesk {
  readonly #options: SessionDeskOptions;
  readonly #modules: SessionDeskModules;
  readonly #live = new Map<SessionId, LiveSession>();
  readonly #handles = new Map<SessionId, Handles>();
  readonly #worker: SessionWorker;
  readonly #identities: ReadonlyMap<NodeIndex, Manifest["members"][number]["identity"]>;

  constructor(options: SessionDeskOptions, modules: SessionDeskModules) {
    this.#options = options;
    this.#modules = modules;
    this.#identities = new Map(
      options.book.manifest.members.map((member) => [member.index, member.identity]),
    );
    this.#worker = new SessionWorker(options.me, {
      ...modules,
      feed: (session, event) => this.#feed(session, event),
    });
  }

  /** Sessions under way at this node. */
  get count(): number {
    return this.#live.size;
  }

  has(session: SessionId): boolean {
    return this.#live.has(session);
  }

  /** Whether a live session of this node means to use the presignature. */
  holds(presignature: PresignatureId): boolean {
    for (const { state } of this.#live.values()) {
      const { work } = state.setup;
      if (work.kind === "presigned" && work.inputs.some((input) => input.presignatureId === presignature))
        return true;
    }
    return false;
  }

  /** The peer's connection dropped and stayed away: what still needs something of it ends, so that the next attempt can begin. */
  departed(node: NodeIndex): void {
    for (const [session, { row }] of this.#live) {
      if (row.signers.includes(node)) this.#later(session, { event: "departed", node });
    }
  }

  /** Ends every session in which `node` takes part, as when it is banned. */
  dismiss(node: NodeIndex): void {
    for (const [session, { row }] of this.#live) {
      if (row.signers.includes(node)) this.cancel(session, "peer-disagrees").catch(this.#modules.report);
    }
  }

  /**
   * Opens a session at this node: as initiator with `proposal` its own, or as a signer that accepted it.
   * @param signed the initiator's signed proposal; null at the initiator, whose machine has it signed
   * @throws CairnError `session-conflict`
   */
  open(
    batch: Batch,
    proposal: Proposal,
    work: SessionWork,
    owner: SessionOwner,
    timeouts: SessionTimeouts,
    signed: SignedProposal | null,
  ): void {
    const session = proposal.sessionId;
    if (this.#live.has(session)) {
      throw new CairnError("session-conflict", "this session is live already", { session });
    }
    const now = this.#modules.clock.now();
    const sealing = makesShares(proposal.purpose) ? SealingKey.generate() : null;
    const opened = openSession(
      {
        me: this.#options.me,
        cluster: this.#options.book.manifest.cluster,
        proposal,
        work,
        identities: this.#identities,
        timeouts,
        nonce: toHex(this.#modules.random.bytes(32)) as Nonce,
        sealing: sealing?.publicKey ?? null,
      },
      signed,
      { now },
    );
    const row: SessionRow = {
      session,
      purpose: proposal.purpose,
      subject: subjectKey(proposal),
      attempt: proposal.attempt,
      initiator: proposal.initiator,
      signers: proposal.signers,
      state: opened.state.phase,
      execution: null,
      failure: null,
      startedAt: now,
      endedAt: null,
    };
    batch.afterwards(() => {
      this.#handles.set(session, { sealing, engine: null, timer: null });
      // A peer that has Start already may send its first round before Start reaches this node: opening needs only our own key.
      if (sealing !== null) this.#modules.courier.useSealingKeys(session, { own: sealing, peers: new Map() });
    });
    batch.put(this.#live, session, { state: opened.state, row, owner });
    batch.write({ write: "session", row });
    batch.audit("session-opened", session, {
      purpose: row.purpose,
      subject: row.subject,
      attempt: row.attempt,
      initiator: row.initiator,
    });
    batch.afterwards(() => this.#modules.changed(row));
    this.#carryOutAll(batch, session, opened);
  }

  /** A message of a peer; dropped where the session is not live. */
  receive(from: NodeIndex, session: SessionId, message: SessionMessage): Promise<void> {
    return this.#feed(session, { event: "message", from, message });
  }

  /** Ends a session that this node no longer wants. */
  cancel(session: SessionId, code: AbortCode): Promise<void> {
    return this.#feed(session, { event: "cancel", code });
  }

  /** Ends all sessions, as on shutdown. */
  async close(): Promise<void> {
    await Promise.all([...this.#live.keys()].map((session) => this.cancel(session, "closed")));
  }

  #feed(session: SessionId, event: SessionEvent): Promise<void> {
    return this.#modules.loop.run((batch) => {
      const live = this.#live.get(session);
      if (live === undefined) return;
      const step = stepSession(live.state, event, { now: this.#modules.clock.now() });
      batch.put(this.#live, session, { ...live, state: step.state });
      this.#sealTo(batch, session, live.state, step.state);
      this.#carryOutAll(batch, session, step);
    });
  }

  /** Feeds an event whose outcome nobody waits for. */
  #later(session: SessionId, event: SessionEvent): void {
    this.#feed(session, event).catch(this.#modules.report);
  }

  #carryOutAll(batch: Batch, session: SessionId, step: SessionStep): void {
    for (const effect of step.effects) this.#carryOut(batch, session, effect);
  }

  #carryOut(batch: Batch, session: SessionId, effect: SessionEffect): void {
    const { clock, engine } = this.#modules;
    switch (effect.effect) {
      case "send":
        return this.#send(batch, effect);
      case "arm":
        return batch.afterwards(() => this.#arm(session, effect.at - clock.now()));
      case "record-execution":
        return batch.afterwards(() => this.#recordExecution(session, effect.execution));
      case "engine-start":
        return batch.afterwards(() => {
          const handles = this.#handles.get(session);
          if (handles !== undefined) handles.engine = engine.start(effect.spec, this.#listener(session));
        });
      case "engine-receive":
        return batch.afterwards(() =>
          this.#handles.get(session)?.engine?.receive(effect.from, effect.payload),
        );
      case "engine-cancel":
        return batch.afterwards(() => this.#handles.get(session)?.engine?.cancel());
      case "burn":
        return batch.afterwards(() => this.#worker.burn(session, effect));
      case "issue-partial":
        batch.audit("partial-issued", session, {
          presignature: effect.presignatureId,
          burnCounter: effect.receipt.burnCounter,
        });
        return batch.afterwards(() => this.#worker.issuePartial(session, effect));
      case "combine":
        return batch.afterwards(() => this.#worker.combine(session, effect));
      case "verify":
        return batch.afterwards(() => this.#worker.verify(session, effect));
      case "discard":
        return batch.afterwards(() => {
          for (const id of effect.presignatureIds) this.#worker.discard(id);
        });
      case "finished": {
        const owner = this.#end(batch, session, null);
        return owner?.finished(batch, effect.result);
      }
      case "ended": {
        const { code, blamed, excluded, message } = effect;
        const started = this.#live.get(session)?.row.execution != null;
        const owner = this.#end(batch, session, code);
        return owner?.ended(batch, { code, blamed, excluded, started, message });
      }
      case "violation":
        return this.#modules.violation(batch, effect, session);
      case "refused":
        return batch.audit("message-refused", session, {
          from: effect.from,
          kind: effect.kind,
          code: effect.code,
        });
    }
  }

  /** The store refuses an execution that it has seen before, however long ago. */
  #recordExecution(session: SessionId, execution: ExecutionId): void {
    const recorded = this.#modules.loop
      .run((batch) => this.#updateRow(batch, session, { state: "started", execution }))
      .then(
        () => this.#feed(session, { event: "execution-recorded" }),
        async (error: unknown) => {
          if (!isCairnError(error, "replayed")) throw error;
          await this.#modules.loop.run((batch) => batch.audit("execution-repeated", session, { execution }));
          await this.#feed(session, { event: "execution-repeated" });
        },
      );
    unawaited(recorded, this.#modules.report);
  }

  #updateRow(batch: Batch, session: SessionId, change: Partial<SessionRow>): void {
    const live = this.#live.get(session);
    if (live === undefined) return;
    const row = { ...live.row, ...change };
    batch.put(this.#live, session, { ...live, row });
    batch.write({ write: "session", row });
    batch.afterwards(() => this.#modules.changed(row));
  }

  #end(batch: Batch, session: SessionId, failure: string | null): SessionOwner | undefined {
    const live = this.#live.get(session);
    this.#updateRow(batch, session, {
      state: failure === null ? "done" : "failed",
      failure,
      endedAt: this.#modules.clock.now(),
    });
    batch.audit(failure === null ? "session-done" : "session-failed", session, { failure });
    batch.remove(this.#live, session);
    batch.afterwards(() => {
      const handles = this.#handles.get(session);
      handles?.timer?.cancel();
      handles?.engine?.cancel();
      if (handles?.sealing != null) this.#modules.courier.useSealingKeys(session, null);
      this.#handles.delete(session);
    });
    return live?.owner;
  }

  #arm(session: SessionId, delayMs: number): void {
    const handles = this.#handles.get(session);
    if (handles === undefined) return;
    handles.timer?.cancel();
    handles.timer = this.#modules.clock.after(Math.max(0, delayMs), () =>
      this.#later(session, { event: "tick" }),
    );
  }

  #send(batch: Batch, effect: EffectOf<"send">): void {
    const { session, round, sealTo } = effect;
    const { me } = this.#options;
    const message = signMessage(effect.message, this.#modules.signer);
    const peers = effect.to.filter((node) => node !== me);
    if (peers.length > 0) {
      const wire: PeerMessage = {
        kind: message.kind,
        session,
        round,
        payload: encodeSessionMessage(message),
        trace: null,
      };
      // Sends of a batch leave before what runs afterwards, so a send that must be sealed to ephemeral keys waits for them.
      if (sealTo === null) batch.send(peers, wire);
      else {
        batch.afterwards(() => {
          for (const node of peers) this.#modules.courier.send(node, wire);
        });
      }
    }
    if (effect.to.includes(me)) {
      batch.afterwards(() => this.#later(session, { event: "message", from: me, message }));
    }
  }

  /** All Acks are there: from here rounds are sealed to the keys that they carry. */
  #sealTo(batch: Batch, session: SessionId, before: SessionState | null, after: SessionState): void {
    const peers = "sealTo" in after ? after.sealTo : null;
    if (peers === null || (before !== null && "sealTo" in before && before.sealTo === peers)) return;
    batch.afterwards(() => {
      const own = this.#handles.get(session)?.sealing;
      if (own != null) this.#modules.courier.useSealingKeys(session, { own, peers });
    });
  }

  #listener(session: SessionId): EngineListener {
    return {
      send: ({ to, round, payload }) => this.#later(session, { event: "engine-send", to, round, payload }),
      progress: (progress) => {
        this.#live.get(session)?.owner.progress(progress);
        this.#later(session, { event: "engine-progress", ...progress });
      },
      done: (result) => this.#later(session, { event: "engine-done", result }),
      failed: (failure) => this.#later(session, { event: "engine-failed", failure }),
    };
  }
}
