import type { NodeIndex } from "@cairn/core";
import type { AbortCode, NackCode, SessionResult } from "@cairn/signing";
import type { Batch } from "./loop.ts";

/** Why a session ended without a result. */
export interface SessionEnd {
  readonly code: AbortCode | NackCode;
  readonly blamed: readonly NodeIndex[];
  readonly excluded: readonly NodeIndex[];
  /** Whether all signers had acknowledged: before that nothing was tried yet. */
  readonly started: boolean;
  readonly message: string;
}

/** Whoever wanted the session: told of its end within the batch that records it. */
export interface SessionOwner {
  finished(batch: Batch, result: SessionResult): void;
  ended(batch: Batch, end: SessionEnd): void;
  progress(progress: { readonly round: number; readonly rounds: number; readonly step: string }): void;
}
