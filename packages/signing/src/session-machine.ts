import { CairnError, type NodeIndex, type UnixMs, verifySigned } from "@cairn/core";
import type { AbortCode } from "./abort.ts";
import { ackFault, startFault } from "./ack-rules.ts";
import type { NackCode } from "./nack.ts";
import { presignatureFault } from "./presignature-binding.ts";
import { makesShares, type Proposal, proposalHash, type SignedProposal } from "./proposal.ts";
import { authenticityFault, refusal } from "./session-authenticity.ts";
import { audienceOf, endSession, isNameless, type LiveState } from "./session-end.ts";
import { executionIdOf } from "./session-id.ts";
import type { SessionMessage } from "./session-message.ts";
import { beginRounds, stepRounds } from "./session-rounds.ts";
import type {
  EarlyMessage,
  ProposedState,
  SessionContext,
  SessionEffect,
  SessionEvent,
  SessionSetup,
  SessionState,
  SessionStep,
  StartedState,
} from "./session-state.ts";

/** Most messages of one peer that are kept while Start has not come. */
export const MAX_EARLY_MESSAGES = 64;
/** Most bytes of one peer that are kept while Start has not come. */
export const MAX_EARLY_BYTES = 2 * 1024 * 1024;

/** Refusals that say nothing against the node that refuses. */
const blamelessNacks: ReadonlySet<NackCode> = new Set<NackCode>([
  "session-conflict",
  "replayed",
  "not-yet-valid",
  "grant-expired",
  "limit-exceeded",
]);

/**
 * Opens a session (one attempt) at one node: at its initiator, or at a signer whose ledger accepted the proposal. The initiator proposes to the
 * others; every signer acknowledges, or refuses where the presignatures do not fit.
 * @param signed the initiator's signed proposal; null at the initiator itself
 * @throws CairnError `signature-invalid`, `not-member` when the caller did not check the proposal first
 */
export function openSession(
  setup: SessionSetup,
  signed: SignedProposal | null,
  context: SessionContext,
): SessionStep {
  const { me, proposal, cluster, timeouts } = setup;
  const initiating = proposal.initiator === me;
  const hash = proposalHash(proposal);
  assertOurs(setup, signed);
  const deadline = (context.now + (initiating ? timeouts.ackMs : timeouts.startMs)) as UnixMs;
  const state: ProposedState = {
    phase: "proposed",
    setup,
    proposalHash: hash,
    openedAt: context.now,
    deadline,
    acks: new Map(),
    early: [],
  };
  const fault = workFault(setup);
  if (fault !== null) return refuseProposal(state, fault);
  const effects: SessionEffect[] = [{ effect: "arm", at: deadline }];
  const send = { effect: "send", session: proposal.sessionId, round: 0, sealTo: null } as const;
  if (initiating) {
    effects.push({
      ...send,
      to: audienceOf(setup),
      message: { kind: "proposal", domain: "cairn/proposal/v1", body: proposal },
    });
  }
  effects.push({
    ...send,
    to: [proposal.initiator],
    message: {
      kind: "ack",
      domain: "cairn/ack/v1",
      body: {
        version: 1,
        cluster,
        session: proposal.sessionId,
        node: me,
        proposalHash: hash,
        nonce: setup.nonce,
        sealing: setup.sealing,
      },
    },
  });
  return { state, effects };
}

/**
 * One event at one session. Pure: the same state, event and time give the same step. Events that come when the session is over, or answers
 * that nobody waits for any more, change nothing.
 */
export function stepSession(state: SessionState, event: SessionEvent, context: SessionContext): SessionStep {
  if (state.phase === "done" || state.phase === "failed") return { state, effects: [] };
  switch (event.event) {
    case "message":
      return onMessage(state, event.from, event.message, context);
    case "cancel":
      return endSession(state, {
        code: event.code,
        tell: event.code,
        blamed: [],
        excluded: [],
        message: "this node ended the session",
      });
    case "departed":
      return onDeparted(state, event.node);
    case "tick":
      if (context.now < state.deadline) {
        return { state, effects: [{ effect: "arm", at: state.deadline }] };
      }
      return state.phase === "proposed" || state.phase === "started"
        ? onSilence(state)
        : stepRounds(state, event, context);
    case "execution-recorded":
      return state.phase === "started" ? onRecorded(state, context) : { state, effects: [] };
    case "execution-repeated":
      return endSession(state, {
        code: "replayed",
        tell: "replayed",
        blamed: [],
        excluded: [],
        message: "this node took part in an execution of this id before",
      });
    default:
      return state.phase === "proposed" || state.phase === "started"
        ? { state, effects: [] }
        : stepRounds(state, event, context);
  }
}

/** The signed refusal of a proposal for which no session is opened, to be sent to its initiator. */
export function nackOf(
  proposal: Proposal,
  me: NodeIndex,
  code: NackCode,
  message: string,
): Extract<SessionEffect, { readonly effect: "send" }> {
  const { cluster, sessionId, initiator } = proposal;
  return {
    effect: "send",
    to: [initiator],
    session: sessionId,
    round: 0,
    message: {
      kind: "nack",
      domain: "cairn/nack/v1",
      body: {
        version: 1,
        cluster,
        session: sessionId,
        node: me,
        proposalHash: proposalHash(proposal),
        code,
        message: message.slice(0, 512),
      },
    },
    sealTo: null,
  };
}

function assertOurs(setup: SessionSetup, signed: SignedProposal | null): void {
  const { me, proposal, identities } = setup;
  if (!proposal.signers.includes(me) || !proposal.signers.includes(proposal.initiator)) {
    throw new CairnError(
      "not-member",
      "a session is opened at its signers only, and its initiator is one of them",
      {
        node: me,
      },
    );
  }
  if (proposal.initiator === me) return;
  const key = identities.get(proposal.initiator);
  const proven =
    signed !== null &&
    key !== undefined &&
    proposalHash(signed.body) === proposalHash(proposal) &&
    verifySigned("cairn/proposal/v1", signed, key);
  if (!proven) {
    throw new CairnError(
      "signature-invalid",
      "the proposal is not signed by its initiator; judge it before opening a session",
    );
  }
}

function workFault(setup: SessionSetup): NackCode | null {
  const { work, proposal } = setup;
  if ((work.kind === "presigned") !== (proposal.items !== null)) return "presignature-mismatch";
  if (work.kind !== "presigned") return null;
  const named = work.inputs.map((input) => input.presignatureId);
  if (named.join() !== proposal.items?.join()) return "presignature-mismatch";
  const stock = new Map(work.stock.map((facts) => [facts.id, facts]));
  for (const input of work.inputs) {
    const { keyId, epoch } = work;
    const fault = presignatureFault(stock.get(input.presignatureId), {
      input,
      keyId,
      epoch,
      signers: proposal.signers,
    });
    if (fault !== null) return fault;
  }
  return null;
}

/** Before the Ack: nothing is used up by refusing. */
function refuseProposal(state: ProposedState, code: NackCode): SessionStep {
  const { setup } = state;
  const { me, proposal } = setup;
  const message =
    "a presignature that the proposal names is not ready for this key, path and signer set here";
  return {
    state: { phase: "failed", setup, code, blamed: [] },
    effects: [
      ...(proposal.initiator === me ? [] : [nackOf(proposal, me, code, message)]),
      { effect: "ended", code, blamed: [], excluded: [], message },
    ],
  };
}

function onMessage(
  state: LiveState,
  from: NodeIndex,
  message: SessionMessage,
  context: SessionContext,
): SessionStep {
  const { setup } = state;
  if (!setup.proposal.signers.includes(from)) {
    const effect = refusal(from, message.kind, "not-member", "the sender is not a signer of this session");
    return { state, effects: [effect] };
  }
  switch (message.kind) {
    case "abort":
      return onAbort(state, from, message);
    case "ack":
      return onAck(state, from, message);
    case "nack":
      return onNack(state, from, message);
    case "start":
      return onStart(state, from, message, context);
    case "proposal":
      return {
        state,
        effects: [refusal(from, message.kind, "replayed", "this session was proposed already")],
      };
    case "round":
    case "partial":
      if (state.phase === "proposed" || state.phase === "started") return keepForLater(state, from, message);
      return stepRounds(state, { event: "message", from, message }, context);
    case "finalize":
      if (state.phase === "proposed" || state.phase === "started") {
        const effect = refusal(from, message.kind, "wrong-state", "this session has not started here");
        return { state, effects: [effect] };
      }
      return stepRounds(state, { event: "message", from, message }, context);
  }
}

type Of<Kind extends SessionMessage["kind"]> = Extract<SessionMessage, { readonly kind: Kind }>;

function onAck(state: LiveState, from: NodeIndex, { kind, signed }: Of<"ack">): SessionStep {
  const { setup } = state;
  const { proposal, me, cluster } = setup;
  if (state.phase !== "proposed" || proposal.initiator !== me) {
    const effect = refusal(from, kind, "wrong-state", "this node does not gather Acks now");
    return { state, effects: [effect] };
  }
  const fault = authenticityFault(setup, from, kind, "cairn/ack/v1", signed, signed.body.node);
  if (fault !== null) return { state, effects: fault };
  if (state.acks.has(from)) {
    return { state, effects: [refusal(from, kind, "replayed", "this signer has acknowledged already")] };
  }
  const mismatch = ackFault(setup, state.proposalHash, signed.body);
  if (mismatch !== null) return { state, effects: [refusal(from, kind, "session-conflict", mismatch)] };
  const acks = new Map(state.acks).set(from, signed);
  const next: ProposedState = { ...state, acks };
  const ordered = proposal.signers.flatMap((signer) => acks.get(signer) ?? []);
  if (ordered.length < proposal.signers.length) return { state: next, effects: [] };
  return {
    state: next,
    effects: [
      {
        effect: "send",
        to: proposal.signers,
        session: proposal.sessionId,
        round: 0,
        message: {
          kind: "start",
          domain: "cairn/start/v1",
          body: {
            version: 1,
            cluster,
            session: proposal.sessionId,
            initiator: me,
            proposalHash: state.proposalHash,
            acks: ordered,
          },
        },
        sealTo: null,
      },
    ],
  };
}

function onNack(state: LiveState, from: NodeIndex, { kind, signed }: Of<"nack">): SessionStep {
  const { setup } = state;
  const { proposal, me } = setup;
  if (state.phase !== "proposed" || proposal.initiator !== me || state.acks.has(from)) {
    const effect = refusal(from, kind, "wrong-state", "this node does not wait for that signer's answer");
    return { state, effects: [effect] };
  }
  const fault = authenticityFault(setup, from, kind, "cairn/nack/v1", signed, signed.body.node);
  if (fault !== null) return { state, effects: fault };
  if (signed.body.proposalHash !== state.proposalHash) {
    const effect = refusal(from, kind, "session-conflict", "the Nack is for another proposal");
    return { state, effects: [effect] };
  }
  const { code, message } = signed.body;
  return endSession(state, {
    code,
    tell: "peer-disagrees",
    blamed: [],
    excluded: blamelessNacks.has(code) ? [] : [from],
    message: `node ${from} refused: ${message}`,
  });
}

function onStart(
  state: LiveState,
  from: NodeIndex,
  { kind, signed }: Of<"start">,
  context: SessionContext,
): SessionStep {
  const { setup } = state;
  const { proposal, timeouts } = setup;
  if (state.phase !== "proposed") {
    return { state, effects: [refusal(from, kind, "replayed", "this session has started already")] };
  }
  if (from !== proposal.initiator) {
    return {
      state,
      effects: [refusal(from, kind, "not-initiator", "only the initiator starts the session")],
    };
  }
  const fault = authenticityFault(setup, from, kind, "cairn/start/v1", signed, signed.body.initiator);
  if (fault !== null) return { state, effects: fault };
  const mismatch = startFault(setup, state.proposalHash, signed.body);
  if (mismatch !== null) {
    return endSession(state, {
      code: "peer-disagrees",
      tell: "peer-disagrees",
      blamed: [from],
      excluded: [from],
      message: mismatch,
    });
  }
  const acks = signed.body.acks.map((ack) => ack.body);
  const execution = executionIdOf(proposal.sessionId, acks);
  const sessionDeadline = (context.now + timeouts.sessionMs) as UnixMs;
  const deadline = Math.min(context.now + timeouts.roundMs, sessionDeadline) as UnixMs;
  const sealing = acks.flatMap(({ node, sealing: key }) =>
    key === null || node === setup.me ? [] : [[node, key] as const],
  );
  const next: StartedState = {
    phase: "started",
    setup,
    proposalHash: state.proposalHash,
    openedAt: state.openedAt,
    deadline,
    sessionDeadline,
    execution,
    sealTo: makesShares(proposal.purpose) ? new Map(sealing) : null,
    early: state.early,
  };
  return {
    state: next,
    effects: [
      { effect: "arm", at: deadline },
      { effect: "record-execution", session: proposal.sessionId, execution },
    ],
  };
}

function onRecorded(state: StartedState, context: SessionContext): SessionStep {
  const begun = beginRounds(state);
  let current: SessionState = begun.state;
  const effects = [...begun.effects];
  for (const { from, message } of state.early) {
    const step = stepSession(current, { event: "message", from, message }, context);
    current = step.state;
    effects.push(...step.effects);
  }
  return { state: current, effects };
}

function onAbort(state: LiveState, from: NodeIndex, { kind, signed }: Of<"abort">): SessionStep {
  const { setup } = state;
  const fault = authenticityFault(setup, from, kind, "cairn/abort/v1", signed, signed.body.node);
  if (fault !== null) return { state, effects: fault };
  if (from === setup.me) return { state, effects: [] };
  if (needsNothingOf(state, from)) {
    const effect = refusal(from, kind, "wrong-state", "nothing more is needed of that signer");
    return { state, effects: [effect] };
  }
  const { code, blamed } = signed.body;
  const others = blamed.filter((node) => node !== setup.me && node !== from);
  return endSession(state, {
    code,
    tell: null,
    blamed: [],
    // Its word against theirs: whoever is at fault shows by standing here again and again.
    excluded: isNameless(code, blamed) ? [] : [from, ...others],
    message: `node ${from} left the session`,
  });
}

/** Waiting for a signer that is gone would only hold the next attempt up. Nobody is to blame for a broken connection. */
function onDeparted(state: LiveState, node: NodeIndex): SessionStep {
  if (!state.setup.proposal.signers.includes(node) || needsNothingOf(state, node)) {
    return { state, effects: [] };
  }
  const code: AbortCode = "timeout";
  return endSession(state, {
    code,
    tell: code,
    blamed: [],
    excluded: [node],
    message: `the connection to node ${node} is gone`,
  });
}

/** A signer that has handed in all its partials can no longer keep the others from the signatures. */
function needsNothingOf(state: LiveState, from: NodeIndex): boolean {
  return (
    (state.phase === "rounds" || state.phase === "finalising") &&
    state.inputs.length > 0 &&
    state.inputs.every((input) => input.partials.has(from))
  );
}

function onSilence(state: ProposedState | StartedState): SessionStep {
  const { setup } = state;
  const { proposal, me } = setup;
  const silent =
    state.phase === "started"
      ? []
      : proposal.initiator === me
        ? proposal.signers.filter((signer) => !state.acks.has(signer) && signer !== me)
        : [proposal.initiator];
  const code: AbortCode = "timeout";
  return endSession(state, {
    code,
    tell: code,
    blamed: silent,
    excluded: silent,
    message:
      silent.length === 0 ? "the session did not go on in time" : `no answer of node ${silent.join(", ")}`,
    violations: silent.map((node) => ({ violation: "Timeout", node })),
  });
}

function keepForLater(
  state: ProposedState | StartedState,
  from: NodeIndex,
  message: Of<"round"> | Of<"partial">,
): SessionStep {
  const bytes =
    message.kind === "round" ? message.content.payload.length : message.signed.body.partial.length;
  const own = state.early.filter((entry) => entry.from === from);
  const held = own.reduce((sum, entry) => sum + entry.bytes, 0);
  if (own.length >= MAX_EARLY_MESSAGES || held + bytes > MAX_EARLY_BYTES) {
    const effect = refusal(
      from,
      message.kind,
      "rate-limited",
      "too many messages before the session started",
    );
    return { state, effects: [effect] };
  }
  const early: readonly EarlyMessage[] = [...state.early, { from, message, bytes }];
  return { state: { ...state, early }, effects: [] };
}
