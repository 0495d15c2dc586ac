import type { NodeIndex, PresignatureId } from "@cairn/core";
import type { AbortCode } from "./abort.ts";
import type { EngineSignature } from "./engine.ts";
import type { NackCode } from "./nack.ts";
import type {
  ProposedState,
  RoundsState,
  SessionEffect,
  SessionResult,
  SessionSetup,
  SessionStep,
  SessionViolation,
  StartedState,
} from "./session-state.ts";

export type LiveState = ProposedState | StartedState | RoundsState;

/** Why a session ends without its result. */
export interface SessionFailure {
  readonly code: AbortCode | NackCode;
  /** Said to the others in an Abort; null tells nobody, since they know or need not. */
  readonly tell: AbortCode | null;
  readonly blamed: readonly NodeIndex[];
  readonly excluded: readonly NodeIndex[];
  readonly message: string;
  readonly violations?: readonly SessionViolation[];
}

/** Failures that a signer can bring about without being named: whoever spoilt the session is one of its signers. */
const spoilt: ReadonlySet<AbortCode | NackCode> = new Set<AbortCode | NackCode>([
  "equivocation",
  "invalid-round-message",
  "signing-failed",
  "keygen-failed",
  "timeout",
]);

/** Whether the failure is a signer's doing, and which signer's nobody can tell. */
export function isNameless(code: AbortCode | NackCode, blamed: readonly NodeIndex[]): boolean {
  return blamed.length === 0 && spoilt.has(code);
}

/**
 * Ends a session without its result. From the Ack on its presignatures are used up, since a Start that this node never saw may have made others
 * release their partials; those whose burning has begun are burned anyway.
 */
export function endSession(state: LiveState, failure: SessionFailure): SessionStep {
  const { setup } = state;
  const { me, proposal } = setup;
  const { code, tell, blamed, message } = failure;
  // Where nobody can be named all signers stand alike: only who spoils sessions again and again stands in every set that fails.
  const nameless = failure.excluded.length === 0 && isNameless(code, blamed);
  const excluded = nameless ? proposal.signers.filter((node) => node !== me) : failure.excluded;
  const effects: SessionEffect[] = (failure.violations ?? []).map((violation) => ({
    effect: "violation",
    ...violation,
  }));
  if (state.phase === "rounds" || state.phase === "finalising") {
    if (setup.work.kind === "engine") effects.push({ effect: "engine-cancel" });
  } else {
    const presignatureIds = presignaturesOf(setup);
    if (presignatureIds.length > 0) effects.push({ effect: "discard", presignatureIds });
  }
  if (tell !== null) {
    const { cluster } = setup;
    effects.push({
      effect: "send",
      to: audienceOf(setup),
      session: proposal.sessionId,
      round: 0,
      message: {
        kind: "abort",
        domain: "cairn/abort/v1",
        body: {
          version: 1,
          cluster,
          session: proposal.sessionId,
          node: me,
          code: tell,
          blamed: [...blamed],
        },
      },
      sealTo: null,
    });
  }
  effects.push({ effect: "ended", code, blamed, excluded, message });
  return { state: { phase: "failed", setup, code, blamed }, effects };
}

/**
 * Ends a session with signatures that were verified: by the engine that combined them, or by `verify`. Those of a grant go to all
 * members from the initiator alone: who does not hear of them asks all that took part. Elsewhere all signers tell all members.
 */
export function finishWithSignatures(
  state: RoundsState,
  signatures: readonly EngineSignature[],
  before: readonly SessionEffect[] = [],
): SessionStep {
  const { setup } = state;
  const { cluster, me, proposal } = setup;
  const result: SessionResult = { kind: "signatures", execution: state.execution, signatures };
  const done: SessionStep = {
    state: { phase: "done", setup, result },
    effects: [...before, { effect: "finished", result }],
  };
  if (proposal.purpose === "sign" && proposal.initiator !== me) return done;
  return {
    ...done,
    effects: [
      ...before,
      {
        effect: "send",
        to: [...setup.identities.keys()].filter((node) => node !== me),
        session: proposal.sessionId,
        round: 0,
        message: {
          kind: "finalize",
          domain: "cairn/finalize/v1",
          body: {
            version: 1,
            cluster,
            session: proposal.sessionId,
            subject: proposal.subject,
            node: me,
            signatures: [...signatures],
          },
        },
        sealTo: null,
      },
      { effect: "finished", result },
    ],
  };
}

/** Who hears of proposals and aborts: all other members where a grant is signed, so that their schedules keep step; else the other signers. */
export function audienceOf(setup: SessionSetup): readonly NodeIndex[] {
  const { me, proposal, identities } = setup;
  const audience = proposal.purpose === "presign" ? proposal.signers : [...identities.keys()];
  return audience.filter((node) => node !== me);
}

function presignaturesOf(setup: SessionSetup): readonly PresignatureId[] {
  return setup.work.kind === "presigned" ? setup.work.inputs.map((input) => input.presignatureId) : [];
}
