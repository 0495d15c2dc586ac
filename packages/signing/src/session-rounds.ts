import type { SignedBroadcast } from "@cairn/consensus";
import { type HashHex, type NodeIndex, sha256Hex, type UnixMs } from "@cairn/core";
import type { AbortCode } from "./abort.ts";
import type { EngineFailure, EngineResult, EngineSignature, EngineSpec, SigningItem } from "./engine.ts";
import { presignatureIdOf } from "./presign-job.ts";
import { makesShares } from "./proposal.ts";
import type { BroadcastMessage, DirectMessage } from "./round-message.ts";
import { authenticityFault, refusal } from "./session-authenticity.ts";
import { endSession, finishWithSignatures } from "./session-end.ts";
import type { SessionMessage } from "./session-message.ts";
import type {
  EngineWork,
  InputState,
  RoundsState,
  SessionContext,
  SessionEffect,
  SessionEvent,
  SessionStep,
  SessionViolation,
  StartedState,
} from "./session-state.ts";

/** Most messages for the engine that one peer may send in one session: far above what any protocol needs. */
export const MAX_ROUND_MESSAGES = 4096;

/** The execution is durably recorded: the engine starts, or the presignatures are burned. */
export function beginRounds(state: StartedState): {
  readonly state: RoundsState;
  readonly effects: readonly SessionEffect[];
} {
  const { setup, execution } = state;
  const { work, proposal } = setup;
  const { early: _, ...rest } = state;
  const rounds: RoundsState = {
    ...rest,
    phase: "rounds",
    broadcasts: new Map(),
    sent: new Map(),
    heard: new Map(),
    inputs:
      work.kind === "engine"
        ? []
        : work.inputs.map((input) => ({ input, step: "burning", partials: new Map(), signature: null })),
    claims: new Map(),
  };
  if (work.kind === "engine") {
    return { state: rounds, effects: [{ effect: "engine-start", spec: specOf(rounds, work.spec) }] };
  }
  return {
    state: rounds,
    effects: work.inputs.map(({ presignatureId }) => ({
      effect: "burn",
      presignatureId,
      session: proposal.sessionId,
    })),
  };

  function specOf(live: RoundsState, spec: EngineWork): EngineSpec {
    const { me } = setup;
    if (spec.kind !== "cggmp24-presign") return { ...spec, executionId: execution, me };
    const { job } = live.setup.proposal;
    const items =
      job === null
        ? []
        : job.paths.map((path, item) => ({ presignatureId: presignatureIdOf(job, execution, item), path }));
    return { ...spec, executionId: execution, me, items };
  }
}

/** One event while the rounds run. */
export function stepRounds(state: RoundsState, event: SessionEvent, context: SessionContext): SessionStep {
  switch (event.event) {
    case "message":
      return onMessage(state, event.from, event.message);
    case "tick":
      return onSilence(state);
    case "engine-send":
      return onEngineSend(state, event);
    case "engine-progress":
      return onProgress(state, context);
    case "engine-done":
      return onEngineDone(state, event.result);
    case "engine-failed":
      return onEngineFailed(state, event.failure);
    case "burned":
      return onBurned(state, event);
    case "burn-refused":
    case "partial-refused":
      return onRefused(state, event);
    case "partial-issued":
      return onIssued(state, event);
    case "combined":
      return onCombined(state, event);
    case "combine-failed":
      return onCombineFailed(state, event);
    case "verified":
      return onVerified(state, event);
    default:
      return { state, effects: [] };
  }
}

type EventOf<Name extends SessionEvent["event"]> = Extract<SessionEvent, { readonly event: Name }>;
type MessageOf<Kind extends SessionMessage["kind"]> = Extract<SessionMessage, { readonly kind: Kind }>;

function onMessage(state: RoundsState, from: NodeIndex, message: SessionMessage): SessionStep {
  switch (message.kind) {
    case "round":
      return message.content.type === "broadcast"
        ? onBroadcast(state, from, message.content)
        : onDirect(state, from, message.content);
    case "partial":
      return onPartial(state, from, message);
    case "finalize":
      return onFinalize(state, from, message);
    default:
      return unchanged(state);
  }
}

function onBroadcast(state: RoundsState, from: NodeIndex, content: BroadcastMessage): SessionStep {
  const { setup, execution } = state;
  const { signed, payload } = content;
  const fault = authenticityFault(setup, from, "round", "cairn/broadcast/v1", signed, signed.body.from);
  if (fault !== null) return { state, effects: fault };
  if (signed.body.execution !== execution) return refuseRound(state, from, "of another execution");
  if (signed.body.digest !== sha256Hex(payload))
    return refuseRound(state, from, "whose payload is not what it signed");
  const key = broadcastKey(signed);
  const first = state.broadcasts.get(key);
  if (first !== undefined) {
    if (first.body.digest === signed.body.digest) return refuseRound(state, from, "that came before");
    return endSession(state, {
      code: "equivocation",
      tell: "equivocation",
      blamed: [from],
      excluded: [from],
      message: `node ${from} signed two different broadcasts of round ${signed.body.round}`,
      violations: [{ violation: "Equivocation", node: from, broadcasts: [first, signed] }],
    });
  }
  const broadcasts = new Map(state.broadcasts).set(key, signed);
  return handToEngine({ ...state, broadcasts }, from, payload);
}

function onDirect(state: RoundsState, from: NodeIndex, content: DirectMessage): SessionStep {
  const { setup, execution } = state;
  const ours =
    content.cluster === setup.cluster &&
    content.session === setup.proposal.sessionId &&
    content.execution === execution &&
    content.from === from &&
    content.to === setup.me;
  if (!ours) return refuseRound(state, from, "of another execution, sender or recipient");
  return handToEngine(state, from, content.payload);
}

function handToEngine(state: RoundsState, from: NodeIndex, payload: Uint8Array): SessionStep {
  if (state.setup.work.kind !== "engine") return refuseRound(state, from, "where no rounds are run");
  const count = (state.heard.get(from) ?? 0) + 1;
  if (count > MAX_ROUND_MESSAGES) {
    const effect = refusal(from, "round", "rate-limited", "more round messages than any protocol needs");
    return { state, effects: [effect] };
  }
  return {
    state: { ...state, heard: new Map(state.heard).set(from, count) },
    effects: [{ effect: "engine-receive", from, payload }],
  };
}

function refuseRound(state: RoundsState, from: NodeIndex, why: string): SessionStep {
  const effect = refusal(from, "round", "invalid-round-message", `a round message ${why}`);
  return { state, effects: [effect] };
}

function onEngineSend(state: RoundsState, event: EventOf<"engine-send">): SessionStep {
  const { setup, execution, sealTo } = state;
  const { me, cluster, proposal } = setup;
  const { to, round, payload } = event;
  const session = proposal.sessionId;
  if (to !== null) {
    const body: DirectMessage = {
      type: "direct",
      version: 1,
      cluster,
      session,
      execution,
      from: me,
      to,
      round,
      payload,
    };
    const message = { kind: "round", domain: null, body } as const;
    return { state, effects: [{ effect: "send", to: [to], session, round, message, sealTo }] };
  }
  const index = state.sent.get(round) ?? 0;
  const body: SignedBroadcast["body"] = {
    version: 1,
    cluster,
    session,
    execution,
    round,
    kind: String(index),
    from: me,
    digest: sha256Hex(payload) as HashHex,
  };
  const message = { kind: "round", domain: "cairn/broadcast/v1", body, payload } as const;
  return {
    state: { ...state, sent: new Map(state.sent).set(round, index + 1) },
    effects: [{ effect: "send", to: othersOf(state), session, round, message, sealTo }],
  };
}

function onProgress(state: RoundsState, context: SessionContext): SessionStep {
  const deadline = Math.min(context.now + state.setup.timeouts.roundMs, state.sessionDeadline) as UnixMs;
  if (deadline <= state.deadline) return unchanged(state);
  return { state: { ...state, deadline }, effects: [{ effect: "arm", at: deadline }] };
}

function onEngineDone(state: RoundsState, result: EngineResult): SessionStep {
  const { setup, execution } = state;
  const { work } = setup;
  if (work.kind !== "engine" || result.kind !== work.spec.kind) {
    return failInternally(state, "the engine ended another protocol than the session's");
  }
  if ("signatures" in result) {
    if (result.signatures.length !== signedItems(state).length) {
      return failInternally(
        state,
        "the engine made another number of signatures than the session has inputs",
      );
    }
    return finishWithSignatures(state, result.signatures);
  }
  const done = { kind: "engine", execution, result } as const;
  return { state: { phase: "done", setup, result: done }, effects: [{ effect: "finished", result: done }] };
}

function onEngineFailed(state: RoundsState, failure: EngineFailure): SessionStep {
  const { code, blamed, round, message } = failure;
  return endSession(state, {
    code: abortCodeOf(state, code),
    tell: abortCodeOf(state, code),
    blamed,
    excluded: blamed,
    message,
    violations: blamed.map((node): SessionViolation => ({ violation: "InvalidRoundMessage", node, round })),
  });
}

function abortCodeOf(state: RoundsState, code: EngineFailure["code"]): AbortCode {
  switch (code) {
    case "invalid-signature":
    case "no-primes":
      return makesShares(state.setup.proposal.purpose) ? "keygen-failed" : "signing-failed";
    default:
      return code;
  }
}

function onBurned(state: RoundsState, { receipt }: EventOf<"burned">): SessionStep {
  const { work, proposal } = state.setup;
  const burning = state.inputs.find(
    ({ input, step }) => step === "burning" && input.presignatureId === receipt.presignatureId,
  );
  if (burning === undefined || work.kind !== "presigned") return unchanged(state);
  const { presignatureId, path, preimage } = burning.input;
  return {
    state: withInput(state, { ...burning, step: "issuing" }),
    effects: [
      {
        effect: "issue-partial",
        receipt,
        keyId: work.keyId,
        epoch: work.epoch,
        presignatureId,
        path,
        signers: proposal.signers,
        preimage,
      },
    ],
  };
}

function onRefused(
  state: RoundsState,
  event: EventOf<"burn-refused"> | EventOf<"partial-refused">,
): SessionStep {
  const code: AbortCode =
    event.code === "presignature-used" || event.code === "presignature-mismatch" ? event.code : "internal";
  return endSession(state, {
    code,
    tell: code,
    blamed: [],
    excluded: [],
    message:
      event.event === "burn-refused"
        ? "a presignature of the session could not be burned"
        : "the engine made no partial of a burned presignature",
  });
}

function onIssued(state: RoundsState, { presignatureId, partial }: EventOf<"partial-issued">): SessionStep {
  const { me, cluster, proposal } = state.setup;
  const issuing = state.inputs.find(
    ({ input, step }) => step === "issuing" && input.presignatureId === presignatureId,
  );
  if (issuing === undefined) return unchanged(state);
  return {
    state: withInput(state, { ...issuing, step: "gathering" }),
    effects: [
      {
        effect: "send",
        to: proposal.signers,
        session: proposal.sessionId,
        round: 1,
        message: {
          kind: "partial",
          domain: "cairn/partial/v1",
          body: {
            version: 1,
            cluster,
            session: proposal.sessionId,
            execution: state.execution,
            presignature: presignatureId,
            input: issuing.input.input,
            sighash: issuing.input.sighash,
            from: me,
            partial: new Uint8Array(partial),
          },
        },
        sealTo: null,
      },
    ],
  };
}

function onPartial(state: RoundsState, from: NodeIndex, { kind, signed }: MessageOf<"partial">): SessionStep {
  const { setup, execution } = state;
  const { body } = signed;
  const fault = authenticityFault(setup, from, kind, "cairn/partial/v1", signed, body.from);
  if (fault !== null) return { state, effects: fault };
  const wanted = state.inputs.find(({ input }) => input.input === body.input);
  if (
    wanted === undefined ||
    body.execution !== execution ||
    body.presignature !== wanted.input.presignatureId ||
    body.sighash !== wanted.input.sighash
  ) {
    const why = "the partial is of another execution, presignature or sighash than the input's";
    return { state, effects: [refusal(from, kind, "presignature-mismatch", why)] };
  }
  if (wanted.partials.has(from)) {
    return { state, effects: [refusal(from, kind, "replayed", "this signer's partial came before")] };
  }
  const gathered: InputState = { ...wanted, partials: new Map(wanted.partials).set(from, signed) };
  if (gathered.partials.size < setup.proposal.signers.length || setup.work.kind !== "presigned") {
    return { state: withInput(state, gathered), effects: [] };
  }
  const { input, presignatureId, path, preimage } = gathered.input;
  const partials = setup.proposal.signers.flatMap((signer) => {
    const own = gathered.partials.get(signer);
    return own === undefined ? [] : [{ from: signer, partial: own.body.partial }];
  });
  return {
    state: withInput(state, { ...gathered, step: "combining" }),
    effects: [
      { effect: "combine", input, keyId: setup.work.keyId, presignatureId, path, preimage, partials },
    ],
  };
}

function onCombined(state: RoundsState, { input, signature }: EventOf<"combined">): SessionStep {
  const combining = state.inputs.find((own) => own.step === "combining" && own.input.input === input);
  if (combining === undefined) return unchanged(state);
  const next = withInput(state, { ...combining, step: "combined", signature });
  const signatures = next.inputs.flatMap((own) => own.signature ?? []);
  return signatures.length < next.inputs.length ? unchanged(next) : finishWithSignatures(next, signatures);
}

function onCombineFailed(state: RoundsState, { input, blamed }: EventOf<"combine-failed">): SessionStep {
  const combining = state.inputs.find((own) => own.step === "combining" && own.input.input === input);
  if (combining === undefined) return unchanged(state);
  const code: AbortCode = blamed.length > 0 ? "invalid-partial" : "signing-failed";
  return endSession(state, {
    code,
    tell: code,
    blamed,
    excluded: blamed,
    message: `the partials of input ${input} make no valid signature`,
    violations: blamed.flatMap((node): SessionViolation[] => {
      const partial = combining.partials.get(node);
      return partial === undefined ? [] : [{ violation: "InvalidPartial", node, partial }];
    }),
  });
}

function onFinalize(
  state: RoundsState,
  from: NodeIndex,
  { kind, signed }: MessageOf<"finalize">,
): SessionStep {
  const { setup } = state;
  const { body } = signed;
  const fault = authenticityFault(setup, from, kind, "cairn/finalize/v1", signed, body.node);
  if (fault !== null) return { state, effects: fault };
  const items = signedItems(state);
  const { work } = setup;
  const keyId = work.kind === "presigned" ? work.keyId : "keyId" in work.spec ? work.spec.keyId : null;
  if (
    keyId === null ||
    items.length === 0 ||
    body.subject !== setup.proposal.subject ||
    body.signatures.length !== items.length
  ) {
    return {
      state,
      effects: [refusal(from, kind, "malformed", "the Finalize does not fit what this session signs")],
    };
  }
  if (state.claims.has(from)) {
    return { state, effects: [refusal(from, kind, "replayed", "this signer's Finalize came before")] };
  }
  const verified = items.flatMap((item, position) => {
    const signature = body.signatures[position];
    return signature === undefined ? [] : [{ path: item.path, preimage: item.preimage, signature }];
  });
  return {
    state: {
      ...state,
      phase: "finalising",
      claims: new Map(state.claims).set(from, body.signatures),
    },
    effects: [{ effect: "verify", from, keyId, items: verified }],
  };
}

function onVerified(state: RoundsState, { from, valid }: EventOf<"verified">): SessionStep {
  const claim: readonly EngineSignature[] | undefined = state.claims.get(from);
  if (claim === undefined) return unchanged(state);
  if (!valid) {
    return {
      state,
      effects: [
        { effect: "violation", violation: "InvalidSignature", node: from, kind: "finalize" },
        refusal(from, "finalize", "signature-invalid", "the Finalize carries signatures that do not verify"),
      ],
    };
  }
  const running: readonly SessionEffect[] =
    state.setup.work.kind === "engine" ? [{ effect: "engine-cancel" }] : [];
  return finishWithSignatures(state, claim, running);
}

function onSilence(state: RoundsState): SessionStep {
  const silent = silentSigners(state);
  return endSession(state, {
    code: "timeout",
    tell: "timeout",
    blamed: silent,
    excluded: silent,
    message:
      silent.length === 0
        ? "the session did not end in time"
        : `nothing more came of node ${silent.join(", ")}`,
    violations: silent.map((node) => ({ violation: "Timeout", node })),
  });
}

/** Those whose partial is missing; in an engine's session those who said less than others did. Rounds keep step, so a silent one falls behind. */
function silentSigners(state: RoundsState): readonly NodeIndex[] {
  const others = othersOf(state);
  if (state.inputs.length > 0) {
    return others.filter((node) => state.inputs.some((input) => !input.partials.has(node)));
  }
  const most = Math.max(0, ...others.map((node) => state.heard.get(node) ?? 0));
  const least = others.filter((node) => (state.heard.get(node) ?? 0) < most);
  return most === 0 ? others : least;
}

function failInternally(state: RoundsState, message: string): SessionStep {
  return endSession(state, { code: "internal", tell: "internal", blamed: [], excluded: [], message });
}

/** What the session signs, in the order of its inputs; empty where it makes something else. */
function signedItems(state: RoundsState): readonly SigningItem[] {
  const { work } = state.setup;
  if (work.kind === "presigned") return work.inputs;
  return work.spec.kind === "cggmp24-sign" || work.spec.kind === "frost-sign" ? work.spec.items : [];
}

function othersOf(state: RoundsState): readonly NodeIndex[] {
  return state.setup.proposal.signers.filter((node) => node !== state.setup.me);
}

function withInput(state: RoundsState, changed: InputState): RoundsState {
  return {
    ...state,
    inputs: state.inputs.map((own) => (own.input.input === changed.input.input ? changed : own)),
  };
}

function broadcastKey({ body }: SignedBroadcast): string {
  return `${body.from}/${body.round}/${body.kind}`;
}

function unchanged(state: RoundsState): SessionStep {
  return { state, effects: [] };
}
