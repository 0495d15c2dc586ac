import {
  type ErrorCode,
  encodeCanonical,
  equalBytes,
  type KeygenApproval,
  type KeyStatus,
  type NodeIndex,
  publicPackageHash,
  type SignedKeygenApproval,
  verifySigned,
  type WalletRecord,
  walletIdOf,
} from "@cairn/core";
import type {
  KeygenContext,
  KeygenEffect,
  KeygenEvent,
  KeygenFailure,
  KeygenHeard,
  KeygenSetup,
  KeygenStep,
  KeyState,
} from "./keygen-state.ts";
import type { KeygenStage } from "./proposal.ts";
import { testSubsets } from "./test-signature.ts";

type PhaseOf<Phase extends KeyState["phase"]> = Extract<KeyState, { readonly phase: Phase }>;
type EventOf<Name extends KeygenEvent["event"]> = Extract<KeygenEvent, { readonly event: Name }>;
/** Phases in which this node may still give up: it has not signed the record. */
type Open = PhaseOf<"approving" | "generating" | "confirming" | "testing">;

/** A key that is asked for, and for which nothing is decided yet. */
export function newKey(setup: KeygenSetup): KeygenStep {
  const heard: KeygenHeard = { approvals: [], words: [], records: [] };
  return {
    state: { phase: "approving", keyId: setup.keyId, heard },
    effects: [{ effect: "arm", at: setup.request.expiry }],
  };
}

/** The status under which people see the key. */
export function keyStatusOf(state: KeyState): KeyStatus {
  switch (state.phase) {
    case "approving":
    case "generating":
    case "confirming":
    case "testing":
    case "recording":
      return "generating";
    default:
      return state.phase;
  }
}

/** Whether a session of `stage` may run at this node now: what the ledger's facts say of a proposal's subject. */
export function welcomesStage(state: KeyState, stage: KeygenStage): boolean {
  switch (stage.step) {
    case "aux":
      // Also for those who have it already: one whose attempt failed at the last message drives another, which all must join.
      return state.phase === "generating";
    case "keygen":
      return (state.phase === "generating" && state.step === "keygen") || state.phase === "confirming";
    case "test":
      // Also for those who are through: one whose own test did not end drives it again.
      return state.phase === "testing" || state.phase === "recording";
  }
}

/** The effects with which a key's work goes on after a restart: sessions are begun anew, and what may not have left is sent again. */
export function resumeKey(state: KeyState, setup: KeygenSetup): readonly KeygenEffect[] {
  switch (state.phase) {
    case "approving":
      return [{ effect: "arm", at: setup.request.expiry }];
    case "generating":
      return [
        { effect: "arm", at: setup.request.expiry },
        { effect: "run-stage", stage: { step: state.step, part: 0 }, signers: setup.members },
      ];
    case "confirming":
      return [
        { effect: "arm", at: setup.request.expiry },
        packageWord(setup, state.attempt, state.packageHash),
      ];
    case "testing":
      return [
        { effect: "arm", at: setup.request.expiry },
        packageWord(setup, state.attempt, state.packageHash),
        ...testStages(setup).filter(({ stage }) => !state.tested.includes(stage.part)),
        ...(isTested(state, setup)
          ? [{ effect: "make-record", publicPackage: state.publicPackage } as const]
          : []),
      ];
    case "recording":
      return [packageWord(setup, state.attempt, state.packageHash), recordWord(setup, state.record)];
    default:
      return [];
  }
}

/**
 * One event in the life of a key at one node: approved by all n, generated over all n, confirmed by all n, tested with signatures that use every
 * share, recorded by all n, active. Until this node signs the wallet record any failure ends the generation; from then on others may have
 * committed, and it waits for the rest.
 */
export function stepKey(
  state: KeyState,
  event: KeygenEvent,
  setup: KeygenSetup,
  context: KeygenContext,
): KeygenStep {
  switch (state.phase) {
    case "failed":
      return event.event === "approval" ? onLateApproval(state, event, setup) : unchanged(state);
    case "retired":
      return unchanged(state);
    case "active":
    case "rotating":
      return stepLiving(state, event);
    case "recording":
      return stepRecording(state, event, setup);
    default:
      return stepOpen(state, event, setup, context);
  }
}

function stepLiving(state: PhaseOf<"active" | "rotating" | "retired">, event: KeygenEvent): KeygenStep {
  if (event.event === "rotate" && state.phase === "active") {
    return { state: { ...state, phase: "rotating" }, effects: [{ effect: "status", status: "rotating" }] };
  }
  if (event.event === "retire") {
    return { state: { ...state, phase: "retired" }, effects: [{ effect: "status", status: "retired" }] };
  }
  return unchanged(state);
}

function stepOpen(state: Open, event: KeygenEvent, setup: KeygenSetup, context: KeygenContext): KeygenStep {
  switch (event.event) {
    case "decided":
      return onDecided(state, event, setup);
    case "approval":
      return onApproval(state, event.from, event.signed, setup);
    case "aux-finished":
      return onAuxFinished(state, event, setup);
    case "keygen-finished":
      return onKeygenFinished(state, event, setup);
    case "public-package":
      return onPackageWord(state, event, setup);
    case "test-verified":
      return onTestVerified(state, event, setup);
    case "stage-ended":
      return onStageEnded(state, event, setup);
    case "record-made":
      return onRecordMade(state, event.record, setup);
    case "wallet-signature":
      return onRecordWord(state, event, setup);
    case "tick":
      return context.now < setup.request.expiry
        ? { state, effects: [{ effect: "arm", at: setup.request.expiry }] }
        : giveUp(state, setup, "expired", [], "the keygen request expired before the key was made");
    case "abandon":
      return giveUp(state, setup, "operator-refused", [], "this node's operator refused the key");
    default:
      return unchanged(state);
  }
}

function onDecided(state: Open, event: EventOf<"decided">, setup: KeygenSetup): KeygenStep {
  if (state.phase !== "approving") return unchanged(state);
  const { approve, reason, auxExecution } = event;
  if (!approve)
    return giveUp(state, setup, reason ?? "forbidden", [], "this node refused the keygen request");
  const carried = setup.request.protocol === "cggmp24" ? auxExecution : null;
  return { state, effects: [approvalWord(setup, { approve: true, reason: null, auxExecution: carried })] };
}

function onApproval(
  state: Open,
  from: NodeIndex,
  signed: SignedKeygenApproval,
  setup: KeygenSetup,
): KeygenStep {
  if (!isApprovalOf(from, signed, setup)) {
    return refuse(state, from, "signature-invalid", "the approval is not this node's word on this request");
  }
  const { body } = signed;
  const heard = { ...state.heard, approvals: withWord(state.heard.approvals, signed) };
  if (!body.approve) {
    if (from === setup.me) return unchanged(state);
    const reason = body.reason ?? "no reason given";
    return fail({ ...state, heard }, "keygen-failed", [from], `node ${from} refused: ${reason}`);
  }
  if (state.phase !== "approving" || heard.approvals === state.heard.approvals) return unchanged(state);
  const { approvals } = heard;
  if (approvals.length < setup.members.length) return { state: { ...state, heard }, effects: [] };
  const step = setup.request.protocol === "cggmp24" && !sharesAux(approvals) ? "aux" : "keygen";
  return runStage({ phase: "generating", keyId: setup.keyId, heard, step, failed: 0 }, setup);
}

/** A word that came after the end: people want to see why all gave up, this node too. */
function onLateApproval(
  state: PhaseOf<"failed">,
  { from, signed }: EventOf<"approval">,
  setup: KeygenSetup,
): KeygenStep {
  if (!isApprovalOf(from, signed, setup)) return unchanged(state);
  const approvals = withWord(state.approvals, signed);
  return approvals === state.approvals ? unchanged(state) : { state: { ...state, approvals }, effects: [] };
}

function isApprovalOf(from: NodeIndex, signed: SignedKeygenApproval, setup: KeygenSetup): boolean {
  const { body } = signed;
  const ours = body.keyId === setup.keyId && body.cluster === setup.cluster && body.node === from;
  const key = setup.identities.get(from);
  return ours && key !== undefined && verifySigned("cairn/keygen-approval/v1", signed, key);
}

/** A node's first word stands, but for a refusal, which takes its approval's place. */
function withWord(words: SignedKeygenApproval[], signed: SignedKeygenApproval): SignedKeygenApproval[] {
  const { node, approve } = signed.body;
  const known = words.find(({ body }) => body.node === node);
  if (known !== undefined && (approve || !known.body.approve)) return words;
  return [...words.filter(({ body }) => body.node !== node), signed];
}

/** Auxiliary information fits together only where all nodes hold that of one execution. */
function sharesAux(approvals: readonly SignedKeygenApproval[]): boolean {
  const held = approvals.map((approval) => approval.body.auxExecution);
  return held.every((execution) => execution !== null && execution === held[0]);
}

function runStage(state: PhaseOf<"generating">, setup: KeygenSetup): KeygenStep {
  return {
    state,
    effects: [{ effect: "run-stage", stage: { step: state.step, part: 0 }, signers: setup.members }],
  };
}

function onAuxFinished(state: Open, event: EventOf<"aux-finished">, setup: KeygenSetup): KeygenStep {
  if (state.phase !== "generating") return unchanged(state);
  const next = runStage({ ...state, step: "keygen", failed: 0 }, setup);
  const { execution, sealedAux } = event;
  return {
    state: next.state,
    effects: [{ effect: "store-aux", execution, sealedAux }, ...next.effects],
  };
}

function onKeygenFinished(state: Open, event: EventOf<"keygen-finished">, setup: KeygenSetup): KeygenStep {
  const { attempt, sealedShare, publicPackage } = event;
  const awaited =
    (state.phase === "generating" && state.step === "keygen") ||
    (state.phase === "confirming" && attempt > state.attempt);
  if (!awaited) return unchanged(state);
  const packageHash = publicPackageHash(publicPackage);
  const { heard, failed, keyId } = state;
  const next: PhaseOf<"confirming"> = {
    phase: "confirming",
    keyId,
    heard,
    attempt,
    publicPackage,
    packageHash,
    tested: [],
    failed,
  };
  const judged = judgeWords(next, setup);
  return {
    state: judged.state,
    effects: [
      { effect: "store-share", attempt, sealedShare, publicPackage },
      packageWord(setup, attempt, packageHash),
      ...judged.effects,
    ],
  };
}

function onPackageWord(state: Open, event: EventOf<"public-package">, setup: KeygenSetup): KeygenStep {
  const { from, signed } = event;
  const { body } = signed;
  const ours = body.keyId === setup.keyId && body.cluster === setup.cluster && body.node === from;
  const key = setup.identities.get(from);
  if (!ours || key === undefined || !verifySigned("cairn/public-package/v1", signed, key)) {
    return refuse(state, from, "signature-invalid", "the word on the public package is not this node's");
  }
  const before = state.heard.words.find((word) => word.body.node === from);
  if (before !== undefined && before.body.attempt >= body.attempt) {
    const same = before.body.attempt > body.attempt || before.body.publicPackage === body.publicPackage;
    return same
      ? unchanged(state)
      : giveUp(
          state,
          setup,
          "equivocation",
          [from],
          `node ${from} signed two public packages of one attempt`,
        );
  }
  const words = [...state.heard.words.filter((word) => word.body.node !== from), signed];
  const next = { ...state, heard: { ...state.heard, words } };
  return next.phase === "confirming" ? judgeWords(next, setup) : { state: next, effects: [] };
}

/** All n words agree: the tests begin. One that differs: nobody can tell who cheated, and there is no key. */
function judgeWords(state: PhaseOf<"confirming">, setup: KeygenSetup): KeygenStep {
  const words = state.heard.words.filter((word) => word.body.attempt === state.attempt);
  const differing = words.filter((word) => word.body.publicPackage !== state.packageHash);
  if (differing.length > 0) {
    const step = giveUp(
      state,
      setup,
      "peer-disagrees",
      [],
      "the nodes came to different public packages; start again, and ask who changed what",
    );
    const alerts = differing.map((word): KeygenEffect => ({ effect: "disagrees", node: word.body.node }));
    return { state: step.state, effects: [...alerts, ...step.effects] };
  }
  if (words.length < setup.members.length) return { state, effects: [] };
  return afterTests(
    { ...state, phase: "testing", failed: 0 },
    setup,
    testStages(setup).filter(({ stage }) => !state.tested.includes(stage.part)),
  );
}

function onTestVerified(state: Open, event: EventOf<"test-verified">, setup: KeygenSetup): KeygenStep {
  const parts = testSubsets(setup.members, setup.request.threshold).length;
  if (state.phase !== "testing" && state.phase !== "confirming") return unchanged(state);
  if (event.part >= parts || state.tested.includes(event.part)) return unchanged(state);
  const next = { ...state, tested: [...state.tested, event.part] };
  return next.phase === "testing" ? afterTests(next, setup) : { state: next, effects: [] };
}

/** When the last part is tested, the record can be made. */
function afterTests(
  state: PhaseOf<"testing">,
  setup: KeygenSetup,
  before: readonly KeygenEffect[] = [],
): KeygenStep {
  const complete = isTested(state, setup);
  return {
    state,
    effects: complete ? [...before, { effect: "make-record", publicPackage: state.publicPackage }] : before,
  };
}

function isTested(state: PhaseOf<"testing">, setup: KeygenSetup): boolean {
  return testSubsets(setup.members, setup.request.threshold).every((_, part) => state.tested.includes(part));
}

/**
 * A part in which this node does not sign, and whose Finalize it may have missed, counts as tested when all of its signers have signed a
 * record of this package: none of them does so before its own test has verified. (This node has signed none yet, so its own parts never
 * count this way.)
 */
function testedByWord(state: PhaseOf<"testing">, setup: KeygenSetup): readonly number[] {
  const vouching = new Set(
    state.heard.records
      .filter(({ signed }) => signed.body.publicPackage === state.packageHash)
      .map(({ node }) => node),
  );
  return testSubsets(setup.members, setup.request.threshold).flatMap((signers, part) =>
    !state.tested.includes(part) && signers.every((signer) => vouching.has(signer)) ? [part] : [],
  );
}

function onStageEnded(state: Open, event: EventOf<"stage-ended">, setup: KeygenSetup): KeygenStep {
  if (state.phase === "approving" || !welcomesStage(state, event.stage)) return unchanged(state);
  if (event.stage.step === "aux" && state.phase === "generating" && state.step !== "aux")
    return unchanged(state);
  const failed = state.failed + 1;
  if (failed < setup.maxAttempts) return { state: { ...state, failed }, effects: [] };
  return giveUp(
    state,
    setup,
    event.code,
    event.blamed,
    `${failed} attempts of the stage ${event.stage.step} failed`,
  );
}

function onRecordMade(state: Open, record: WalletRecord, setup: KeygenSetup): KeygenStep {
  if (state.phase !== "testing" || !isTested(state, setup)) return unchanged(state);
  const { request } = setup;
  const fits =
    record.cluster === setup.cluster &&
    record.keyId === setup.keyId &&
    record.protocol === request.protocol &&
    record.label === request.label &&
    record.birthday === request.createdAt &&
    record.publicPackage === state.packageHash &&
    record.wallet === walletIdOf(record.descriptor);
  if (!fits) {
    return giveUp(state, setup, "internal", [], "the wallet record does not follow from request and package");
  }
  const { tested: _, failed: __, ...rest } = state;
  const next: PhaseOf<"recording"> = { ...rest, phase: "recording", record };
  const judged = judgeRecords(next, setup);
  return { state: judged.state, effects: [recordWord(setup, record), ...judged.effects] };
}

function stepRecording(state: PhaseOf<"recording">, event: KeygenEvent, setup: KeygenSetup): KeygenStep {
  switch (event.event) {
    case "wallet-signature":
      return onRecordWord(state, event, setup);
    case "abandon":
      return fail(state, "closed", [], "an operator ended the generation");
    default:
      return unchanged(state);
  }
}

function onRecordWord(
  state: Open | PhaseOf<"recording">,
  event: EventOf<"wallet-signature">,
  setup: KeygenSetup,
): KeygenStep {
  const { from, signed } = event;
  const key = setup.identities.get(from);
  const ours = signed.body.cluster === setup.cluster && signed.body.keyId === setup.keyId;
  if (!ours || key === undefined || !verifySigned("cairn/wallet-record/v1", signed, key)) {
    return refuse(state, from, "signature-invalid", "the wallet record is not signed by this node");
  }
  const records = [...state.heard.records.filter((own) => own.node !== from), { node: from, signed }];
  const next = { ...state, heard: { ...state.heard, records } };
  if (next.phase === "recording") return judgeRecords(next, setup);
  if (next.phase !== "testing") return { state: next, effects: [] };
  const vouched = testedByWord(next, setup);
  if (vouched.length === 0) return { state: next, effects: [] };
  return afterTests({ ...next, tested: [...next.tested, ...vouched] }, setup);
}

function judgeRecords(state: PhaseOf<"recording">, setup: KeygenSetup): KeygenStep {
  const own = encodeCanonical(state.record);
  const agreeing = state.heard.records.filter(({ signed }) => equalBytes(encodeCanonical(signed.body), own));
  const signatures = setup.members.flatMap((node) => {
    const word = agreeing.find((entry) => entry.node === node);
    return word === undefined ? [] : [{ node, signature: word.signed.signature }];
  });
  const alerts = state.heard.records
    .filter((entry) => !agreeing.includes(entry))
    .map(({ node }): KeygenEffect => ({ effect: "disagrees", node }));
  if (signatures.length < setup.members.length) return { state, effects: alerts };
  return {
    state: { phase: "active", keyId: state.keyId, approvals: state.heard.approvals },
    effects: [
      {
        effect: "activate",
        signed: { record: state.record, signatures },
        publicPackage: state.publicPackage,
      },
    ],
  };
}

function testStages(setup: KeygenSetup): readonly Extract<KeygenEffect, { readonly effect: "run-stage" }>[] {
  return testSubsets(setup.members, setup.request.threshold).map((signers, part) => ({
    effect: "run-stage",
    stage: { step: "test", part },
    signers,
  }));
}

function approvalWord(
  setup: KeygenSetup,
  word: Pick<KeygenApproval, "approve" | "reason" | "auxExecution">,
): KeygenEffect {
  const { cluster, keyId, me, members } = setup;
  return {
    effect: "send",
    to: members,
    message: {
      kind: "keygen-approval",
      domain: "cairn/keygen-approval/v1",
      body: { version: 1, cluster, keyId, node: me, ...word },
    },
  };
}

function packageWord(
  setup: KeygenSetup,
  attempt: number,
  publicPackage: PhaseOf<"confirming">["packageHash"],
): KeygenEffect {
  const { cluster, keyId, me, members } = setup;
  return {
    effect: "send",
    to: members,
    message: {
      kind: "public-package",
      domain: "cairn/public-package/v1",
      body: { version: 1, cluster, keyId, attempt, node: me, publicPackage },
    },
  };
}

function recordWord(setup: KeygenSetup, record: WalletRecord): KeygenEffect {
  const message = { kind: "wallet-signature", domain: "cairn/wallet-record/v1", body: record } as const;
  return { effect: "send", to: setup.members, message };
}

/** Ends the generation and tells the others, as a refusal: no node makes this key any more. */
function giveUp(
  state: Open,
  setup: KeygenSetup,
  code: KeygenFailure,
  blamed: readonly NodeIndex[],
  message: string,
): KeygenStep {
  const step = fail(state, code, blamed, message);
  return {
    state: step.state,
    effects: [approvalWord(setup, { approve: false, reason: code, auxExecution: null }), ...step.effects],
  };
}

function fail(
  state: Open | PhaseOf<"recording">,
  code: KeygenFailure,
  blamed: readonly NodeIndex[],
  message: string,
): KeygenStep {
  return {
    state: {
      phase: "failed",
      keyId: state.keyId,
      approvals: state.heard.approvals,
      during: state.phase,
      code,
      blamed: [...blamed],
    },
    effects: [{ effect: "stop-stages" }, { effect: "failed", code, blamed, message }],
  };
}

function refuse(state: KeyState, from: NodeIndex, code: ErrorCode, message: string): KeygenStep {
  return { state, effects: [{ effect: "refused", from, code, message }] };
}

function unchanged(state: KeyState): KeygenStep {
  return { state, effects: [] };
}
