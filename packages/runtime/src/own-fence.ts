import {
  AMNESIA_KEY,
  AUDIT_ROOT,
  amnesiaWrite,
  CairnError,
  type Clock,
  decodeCanonical,
  encodeCanonical,
  type FenceAnswer,
  type FenceChallenge,
  fenceAnswerHash,
  type HashHex,
  judgeFence,
  type NodeIndex,
  type NodeStore,
  overlapQuorum,
  type SignedFenceAnswer,
  type Signer,
  signFenceAnswer,
  verifyMemberWord,
} from "@cairn/core";
import { z } from "zod";
import type { Loop } from "./loop.ts";
import type { InForce } from "./manifest-book.ts";

/** Key of the epoch that the database was last used in. */
const EPOCH_KEY = "fence-epoch";

export interface OwnFenceOptions {
  readonly me: NodeIndex;
  readonly book: Pick<InForce, "manifest">;
  /** Of the file beside the database. */
  readonly epoch: number;
}

export interface OwnFenceModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "meta" | "auditHead" | "audit" | "burnCounter" | "presignatures">;
  readonly signer: Signer;
  readonly clock: Clock;
  /** Whether this node remembers what it did, or has asked enough peers since it lost its database. */
  readonly remembers: () => boolean;
  /** This node may act from now on, or never again in this epoch. */
  readonly changed: (state: "admitted" | "rolled-back") => void;
}

/**
 * Whether this node may act: only once enough peers have asked it how far it is, and none has shown it its own signature on a
 * later state than the one it finds on its disk.
 */
export class OwnFence {
  readonly #options: OwnFenceOptions;
  readonly #modules: OwnFenceModules;
  readonly #heard = new Set<NodeIndex>();
  readonly #admission = Promise.withResolvers<void>();
  #state: "asking" | "admitted" | "rolled-back" = "asking";

  constructor(options: OwnFenceOptions, modules: OwnFenceModules) {
    this.#options = options;
    this.#modules = modules;
    // Whoever waits hears of it; nobody may be waiting.
    this.#admission.promise.catch(() => {});
  }

  /**
   * Holds the epoch against the database's. A raised one says that the database was restored: presignatures in it may have been
   * used since, so all of them end, and what this node signed since is forgotten. So does one above 0 that finds an empty database.
   * @throws CairnError `rolled-back` where the file is older than the database
   */
  async restore(): Promise<void> {
    const { store, loop } = this.#modules;
    const { epoch } = this.#options;
    const stored = await store.meta(EPOCH_KEY);
    const before = stored === null ? null : decodeCanonical(z.number().int().min(0), stored);
    if (before === epoch) return;
    if (before !== null && before > epoch) {
      throw new CairnError(
        "rolled-back",
        `the file epoch holds ${epoch}, but this database was used in epoch ${before}: put the newest file back, or raise it above ${before}`,
        { epoch, used: before },
      );
    }
    const doubtful =
      before === null
        ? []
        : [
            ...(await store.presignatures({ state: "ready" })),
            ...(await store.presignatures({ state: "pending" })),
          ];
    const restored = epoch > 0 && (before !== null || (await store.meta(AMNESIA_KEY)) === null);
    await loop.run((batch) => {
      batch.write({ write: "meta", key: EPOCH_KEY, value: encodeCanonical(epoch) });
      if (restored) batch.write(amnesiaWrite(this.#modules.clock.now()));
      for (const { id } of doubtful) batch.write({ write: "presignature-state", id, state: "discarded" });
      if (before !== null) {
        batch.audit("epoch-raised", String(this.#options.me), {
          from: before,
          to: epoch,
          presignaturesDiscarded: doubtful.length,
        });
      }
    });
  }

  /** Whether this node may act now. */
  get admits(): boolean {
    return this.#state === "admitted";
  }

  /** Whether a peer has shown that this node was set back to an older state. */
  get rolledBack(): boolean {
    return this.#state === "rolled-back";
  }

  /** Resolves once this node may act. Rejects with `rolled-back` when it must not. */
  admitted(): Promise<void> {
    return this.#state === "rolled-back" ? Promise.reject(rolledBack()) : this.#admission.promise;
  }

  /** @throws CairnError `rolled-back` */
  refuseRolledBack(): void {
    if (this.#state === "rolled-back") throw rolledBack();
  }

  /**
   * This node's answer, which tells only what is durable already. The challenge may show that the node was set back.
   * @throws CairnError `wrong-recipient`, `signature-invalid`, `wrong-cluster` for challenges that are none
   */
  async answer(from: NodeIndex, challenge: FenceChallenge): Promise<SignedFenceAnswer> {
    const { me, book } = this.#options;
    const { manifest } = book;
    const { signer, clock } = this.#modules;
    const { remembered, nonce } = challenge;
    if (challenge.node !== me || challenge.challenger !== from) {
      throw new CairnError("wrong-recipient", "the fence challenge is of another node, or for another", {
        from,
      });
    }
    if (remembered !== null) verifyMemberWord("cairn/fence/v1", remembered, me, manifest);
    const body: FenceAnswer = {
      version: 1,
      cluster: manifest.cluster,
      node: me,
      challenger: from,
      nonce,
      ...(await this.#standing(remembered?.body ?? null)),
      remembered: remembered === null ? null : fenceAnswerHash(remembered.body),
      answeredAt: clock.now(),
    };
    if (judgeFence(remembered?.body ?? null, body) === "current") this.#hear(from);
    else if (remembered !== null) await this.#stop(from, remembered.body.position, body.position);
    return signFenceAnswer(body, signer);
  }

  /** The log's hash where it has `length` entries; null where it has fewer. */
  async hashAt(length: number): Promise<HashHex | null> {
    if (length === 0) return AUDIT_ROOT;
    const [row] = await this.#modules.store.audit({ from: length - 1, limit: 1 });
    return row?.hash ?? null;
  }

  async #standing(
    known: FenceAnswer | null,
  ): Promise<Pick<FenceAnswer, "position" | "auditHead" | "continues">> {
    const { store } = this.#modules;
    const { epoch } = this.#options;
    const head = await store.auditHead();
    const burnCounter = await store.burnCounter();
    const auditLength = known?.position.auditLength ?? 0;
    return {
      position: { epoch, burnCounter, auditLength: head === null ? 0 : head.seq + 1 },
      auditHead: head?.hash ?? AUDIT_ROOT,
      continues:
        known?.position.epoch === epoch ? { auditLength, auditHead: await this.hashAt(auditLength) } : null,
    };
  }

  #hear(from: NodeIndex): void {
    this.#heard.add(from);
    this.review();
  }

  /** Admits this node where nothing stands in its way any more. */
  review(): void {
    // So many others are needed for whatever this node would take part in; any two such groups share an honest peer.
    const needed = overlapQuorum(this.#options.book.manifest.members.length) - 1;
    if (this.#state !== "asking" || this.#heard.size < needed || !this.#modules.remembers()) return;
    this.#state = "admitted";
    this.#admission.resolve();
    this.#modules.changed("admitted");
  }

  async #stop(
    by: NodeIndex,
    remembered: FenceAnswer["position"],
    found: FenceAnswer["position"],
  ): Promise<void> {
    if (this.#state === "rolled-back") return;
    this.#state = "rolled-back";
    this.#admission.reject(rolledBack());
    this.#modules.changed("rolled-back");
    await this.#modules.loop.run((batch) =>
      batch.audit("rolled-back", String(this.#options.me), {
        shownBy: by,
        epoch: found.epoch,
        burnCounter: found.burnCounter,
        auditLength: found.auditLength,
        rememberedEpoch: remembered.epoch,
        rememberedBurnCounter: remembered.burnCounter,
        rememberedAuditLength: remembered.auditLength,
      }),
    );
  }
}

function rolledBack(): CairnError {
  return new CairnError(
    "rolled-back",
    "this node's files were set back to an earlier state, and it takes part in nothing: put the newest files back, or raise its epoch (`cairn node raise-epoch`)",
  );
}
