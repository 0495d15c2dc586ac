import { type CairnError, type Clock, isCairnError, type NodeIndex } from "@cairn/core";
import type { ChangeDesk } from "./change-desk.ts";
import type { ManifestBook } from "./manifest-book.ts";
import type { SyncQuestions } from "./sync-questions.ts";

export interface ChangeCatchUpModules {
  readonly questions: SyncQuestions;
  readonly clock: Clock;
  readonly book: Pick<ManifestBook, "knows">;
  readonly changes: Pick<ChangeDesk, "onCommit">;
  readonly report: (cause: unknown) => void;
}

/** Least time between two questions to one peer. */
const ASK_MS = 5_000;

/** Asks peers for the changes that are in force with them. */
export class ChangeCatchUp {
  readonly #modules: ChangeCatchUpModules;
  readonly #askedAt = new Map<NodeIndex, number>();

  constructor(modules: ChangeCatchUpModules) {
    this.#modules = modules;
  }

  /** Asks a peer for all of them, unless it was asked just now. */
  ask(node: NodeIndex): void {
    const { clock, report } = this.#modules;
    const last = this.#askedAt.get(node);
    if (last !== undefined && clock.monotonic() - last < ASK_MS) return;
    this.fetch(node).catch((cause: unknown) => {
      // A peer that does not answer is asked again when something names its manifest.
      if (!isCairnError(cause)) report(cause);
    });
  }

  /** Whether `error` says that a peer goes by a manifest that this node does not know. Then the peer is asked for it. */
  asksFor(error: CairnError, from: NodeIndex): boolean {
    const { named } = error.data;
    const unknown =
      error.code === "wrong-manifest" && typeof named === "string" && !this.#modules.book.knows(named);
    if (unknown) this.ask(from);
    return unknown;
  }

  /** Resolves when the peer has told all. @throws CairnError `timeout`, `closed`, and what is wrong with its answers */
  async fetch(node: NodeIndex): Promise<void> {
    const { clock, changes, questions } = this.#modules;
    this.#askedAt.set(node, clock.monotonic());
    await questions.each(node, "changes", ({ body }) =>
      changes.onCommit(node, body).catch((error: unknown) => {
        // Another peer's answer will complete what this one's does not.
        if (!isCairnError(error, "busy") && !isCairnError(error, "wrong-manifest")) throw error;
      }),
    );
  }
}
