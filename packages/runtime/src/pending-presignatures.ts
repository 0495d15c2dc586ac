import type { SignedPublicDataAcceptance } from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  decodeCanonical,
  encodeCanonical,
  type KeyId,
  type Manifest,
  type NodeIndex,
  type NodeStore,
  type PresignatureId,
  type PresignatureRow,
  type SessionId,
  type Signer,
} from "@cairn/core";
import {
  acceptPublicData,
  type EngineResult,
  makePresignReady,
  type PendingPresignature,
  type PresignJob,
  presignReadySchema,
  publicDataAcceptance,
} from "@cairn/signing";
import type { Batch, Loop } from "./loop.ts";
import type { InForce } from "./manifest-book.ts";
import type { SessionDesk } from "./session-desk.ts";

export interface PendingPresignaturesModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "presignatures">;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly sessions: Pick<SessionDesk, "has">;
  /** The stock of a key changed. */
  readonly changed: (keyId: KeyId) => void;
}

/** What a finished execution made here, until all signers have spoken. */
interface Pending {
  readonly keyId: KeyId;
  readonly item: PendingPresignature;
}

interface EarlyWord {
  readonly from: NodeIndex;
  readonly signed: SignedPublicDataAcceptance;
}

type Made = Extract<EngineResult, { readonly kind: "cggmp24-presign" }>;

/** Words of the other signers that are kept for one session before this node's own result is there. */
const MAX_EARLY_WORDS = 1024;

/** Presignatures that were made here and may be used only when all their signers have signed the hash of their public data. */
export class PendingPresignatures {
  readonly #me: NodeIndex;
  readonly #manifest: Manifest;
  readonly #modules: PendingPresignaturesModules;
  readonly #pending = new Map<PresignatureId, Pending>();
  readonly #early = new Map<SessionId, readonly EarlyWord[]>();
  readonly #identities: ReadonlyMap<NodeIndex, Manifest["members"][number]["identity"]>;

  constructor(
    { me, book }: { readonly me: NodeIndex; readonly book: Pick<InForce, "manifest"> },
    modules: PendingPresignaturesModules,
  ) {
    this.#me = me;
    const { manifest } = book;
    this.#manifest = manifest;
    this.#modules = modules;
    this.#identities = new Map(manifest.members.map((member) => [member.index, member.identity]));
  }

  /** What was pending when the node went down is of no use: the others' words are gone. It was never usable. */
  async discardAll(): Promise<void> {
    const rows = await this.#modules.store.presignatures({ state: "pending" });
    if (rows.length === 0) return;
    await this.#modules.loop.run((batch) => {
      for (const { id } of rows) batch.write({ write: "presignature-state", id, state: "discarded" });
    });
  }

  /** Stores what an execution made, as pending, and tells the other signers the hash of each item's public data. */
  add(batch: Batch, job: PresignJob, session: SessionId, execution: string, { items }: Made): void {
    for (const [at, item] of items.entries()) this.#store(batch, job, session, item, at);
    const { cluster } = this.#manifest;
    const words = items.map(({ presignatureId, publicData }) =>
      publicDataAcceptance({ cluster, node: this.#me, presignatureId, signers: job.signers, publicData }),
    );
    const ready = makePresignReady(session, words, cluster, this.#modules.signer);
    const others = job.signers.filter((node) => node !== this.#me);
    batch.post(others, `presign-ready/${session}/${execution}`, {
      kind: "presign-ready",
      session,
      round: 0,
      payload: encodeCanonical(ready),
      trace: null,
    });
    for (const signed of ready.acceptances) this.#take(batch, session, this.#me, signed);
    const early = this.#early.get(session) ?? [];
    batch.remove(this.#early, session);
    for (const { from, signed } of early) this.#take(batch, session, from, signed);
  }

  /** A signer's words on what a session made. */
  async onReady(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const { session, cluster, acceptances } = decodeCanonical(presignReadySchema, payload);
    if (cluster !== this.#manifest.cluster) {
      throw new CairnError("wrong-cluster", "the words are for another cluster");
    }
    await this.#modules.loop.run((batch) => {
      for (const signed of acceptances) this.#take(batch, session, from, signed);
    });
  }

  #store(batch: Batch, job: PresignJob, session: SessionId, item: Made["items"][number], at: number): void {
    const { presignatureId, sealed, publicData } = item;
    const path = job.paths[at];
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
  }

  #take(batch: Batch, session: SessionId, from: NodeIndex, signed: SignedPublicDataAcceptance): void {
    const id = signed.body.subject as string as PresignatureId;
    const pending = this.#pending.get(id);
    if (pending === undefined) return this.#keepEarly(batch, session, from, signed);
    const readiness = acceptPublicData(pending.item, from, signed, {
      cluster: this.#manifest.cluster,
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
}
