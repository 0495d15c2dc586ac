import {
  CairnError,
  type Clock,
  type ErrorCode,
  isCairnError,
  type NodeIndex,
  type NodeStore,
  type PresignatureId,
  type SessionId,
} from "@cairn/core";
import type { Engine, SessionEffect, SessionEvent } from "@cairn/signing";
import type { Loop } from "./loop.ts";

type EffectOf<Kind extends SessionEffect["effect"]> = Extract<SessionEffect, { readonly effect: Kind }>;

export interface SessionWorkerModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "burn" | "presignature">;
  readonly engine: Engine;
  readonly clock: Clock;
  /** Public package of a key of this node. @throws CairnError `not-found` */
  readonly publicPackage: (keyId: EffectOf<"combine">["keyId"]) => Uint8Array;
  /** Feeds what came of the work to its session's machine. */
  readonly feed: (session: SessionId, event: SessionEvent) => Promise<void>;
  readonly report: (cause: unknown) => void;
}

/** What sessions have the store and the engine do off the loop, presignatures first of all; answers come back as events. */
export class SessionWorker {
  readonly #me: NodeIndex;
  readonly #modules: SessionWorkerModules;
  /** Partials that the engine is making. */
  readonly #issuing = new Map<PresignatureId, Promise<void>>();
  /** End of the row of burns; see {@link SessionWorker.burn}. */
  #burns: Promise<void> = Promise.resolve();

  constructor(me: NodeIndex, modules: SessionWorkerModules) {
    this.#me = me;
    this.#modules = modules;
  }

  /**
   * Burns, and waits for the partial that follows before the next burn begins: the engine refuses a receipt whose counter does
   * not rise, so sessions that run side by side must be served in the order of their burns.
   */
  burn(session: SessionId, { presignatureId }: EffectOf<"burn">): void {
    const { store, clock } = this.#modules;
    this.#burns = this.#burns.then(async () => {
      await this.#answer(
        session,
        async () => {
          const burnCounter = await store.burn(presignatureId, session, clock.now());
          const row = await this.#presignature(presignatureId);
          return { event: "burned", receipt: { presignatureId, epoch: row.epoch, burnCounter } };
        },
        (code) => ({ event: "burn-refused", presignatureId, code }),
      );
      await this.#issuing.get(presignatureId);
    });
  }

  issuePartial(session: SessionId, effect: EffectOf<"issue-partial">): void {
    const { effect: _, presignatureId, ...input } = effect;
    const issued = this.#answer(
      session,
      async () => {
        const row = await this.#presignature(presignatureId);
        const partial = await this.#modules.engine.issuePartial({
          ...input,
          me: this.#me,
          sealedPresignature: row.sealed,
        });
        return { event: "partial-issued", presignatureId, partial };
      },
      (code) => ({ event: "partial-refused", presignatureId, code }),
    );
    this.#issuing.set(
      presignatureId,
      issued.finally(() => this.#issuing.delete(presignatureId)),
    );
  }

  combine(session: SessionId, effect: EffectOf<"combine">): void {
    const { input, keyId, path, preimage, partials } = effect;
    void this.#answer(
      session,
      async () => {
        const { publicData } = await this.#presignature(effect.presignatureId);
        const publicPackage = this.#modules.publicPackage(keyId);
        try {
          const signature = await this.#modules.engine.combinePartials({
            publicPackage,
            publicData,
            path,
            preimage,
            partials,
          });
          return { event: "combined", input, signature };
        } catch (cause) {
          if (!isCairnError(cause, "invalid-partial")) throw cause;
          return { event: "combine-failed", input, blamed: blamedOf(cause) };
        }
      },
      () => ({ event: "combine-failed", input, blamed: [] }),
    );
  }

  verify(session: SessionId, effect: EffectOf<"verify">): void {
    void this.#answer(
      session,
      async () => {
        const publicPackage = this.#modules.publicPackage(effect.keyId);
        const verdicts = await Promise.all(
          effect.items.map((item) => this.#modules.engine.verify({ publicPackage, ...item })),
        );
        return { event: "verified", from: effect.from, valid: verdicts.every((valid) => valid) };
      },
      () => ({ event: "verified", from: effect.from, valid: false }),
    );
  }

  /** On its own, since another session may have used the item up meanwhile: that must not keep this one from ending. */
  discard(id: PresignatureId): void {
    this.#modules.loop
      .run((batch) => batch.write({ write: "presignature-state", id, state: "discarded" }))
      .catch((cause: unknown) => {
        if (!isCairnError(cause, "presignature-used") && !isCairnError(cause, "wrong-state"))
          this.#modules.report(cause);
      });
  }

  async #presignature(id: PresignatureId) {
    const row = await this.#modules.store.presignature(id);
    if (row === null)
      throw new CairnError("not-found", "this node has no such presignature", { presignature: id });
    return row;
  }

  /** Feeds back what came of the work; an error becomes the machine's own refusal. Never rejects. */
  #answer(
    session: SessionId,
    work: () => Promise<SessionEvent>,
    refusal: (code: ErrorCode) => SessionEvent,
  ): Promise<void> {
    return work()
      .catch((cause: unknown) => {
        if (!isCairnError(cause)) this.#modules.report(cause);
        return refusal(isCairnError(cause) ? cause.code : "internal");
      })
      .then((event) => this.#modules.feed(session, event))
      .catch(this.#modules.report);
  }
}

function blamedOf(error: CairnError): NodeIndex[] {
  const { blamed } = error.data;
  if (!Array.isArray(blamed)) return [];
  return blamed.filter((node): node is NodeIndex => typeof node === "number");
}
