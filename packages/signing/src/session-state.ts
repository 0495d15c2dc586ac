import type { SignedBroadcast, SignedPartial } from "@cairn/consensus";
import type {
  ClusterId,
  Ed25519PublicKey,
  ErrorCode,
  ExecutionId,
  HashHex,
  KeyId,
  KeyPath,
  NodeIndex,
  Nonce,
  PresignatureId,
  SessionId,
  UnixMs,
  X25519PublicKey,
} from "@cairn/core";
import type { AbortCode } from "./abort.ts";
import type { SignedAck } from "./ack.ts";
import type { BurnReceipt, EngineFailure, EngineResult, EngineSignature, EngineSpec } from "./engine.ts";
import type { NackCode } from "./nack.ts";
import type { Proposal } from "./proposal.ts";
import type { SessionMessage, UnsignedMessage } from "./session-message.ts";

type Without<Union, Key extends PropertyKey> = Union extends unknown ? Omit<Union, Key> : never;

/** An engine's spec as the session's owner knows it. Presigning gets its ids from the execution (see `presignatureIdOf`). */
export type EngineWork =
  | Without<Exclude<EngineSpec, { readonly kind: "cggmp24-presign" }>, "executionId" | "me">
  | Without<Extract<EngineSpec, { readonly kind: "cggmp24-presign" }>, "executionId" | "me" | "items">;

/** One input that is signed from a presignature. */
export interface PresignedInput {
  /** Position in the grant. */
  readonly input: number;
  readonly presignatureId: PresignatureId;
  readonly path: KeyPath;
  /** Of the grant, and rebuilt by this node from the PSBT. */
  readonly sighash: HashHex;
  /** What the engine hashes to `sighash`. */
  readonly preimage: Uint8Array;
}

/** What this node's store says of a presignature. */
export interface PresignatureFacts {
  readonly id: PresignatureId;
  readonly keyId: KeyId;
  readonly path: KeyPath;
  readonly epoch: number;
  readonly signers: readonly NodeIndex[];
  readonly state: "pending" | "ready" | "burned" | "discarded";
}

/** What the session does, once it is started. */
export type SessionWork =
  | { readonly kind: "engine"; readonly spec: EngineWork }
  | {
      readonly kind: "presigned";
      readonly keyId: KeyId;
      readonly epoch: number;
      readonly inputs: readonly PresignedInput[];
      /** Facts of this node's store for the presignatures that the proposal names; a missing one is simply not here. */
      readonly stock: readonly PresignatureFacts[];
    };

/** How long each phase may last, in milliseconds. */
export interface SessionTimeouts {
  /** Initiator: from Proposal until all Acks are there. */
  readonly ackMs: number;
  /** Signer: from its Ack until Start. Longer than `ackMs`. */
  readonly startMs: number;
  /** Without progress of the engine, or until all partials are there. */
  readonly roundMs: number;
  /** From Start until the end, whatever progress there is. */
  readonly sessionMs: number;
}

/** Everything that does not change while a session lives. */
export interface SessionSetup {
  readonly me: NodeIndex;
  readonly cluster: ClusterId;
  readonly proposal: Proposal;
  readonly work: SessionWork;
  /** Identity keys of all members of the manifest: control messages are checked against them, and Finalize goes to all of them. */
  readonly identities: ReadonlyMap<NodeIndex, Ed25519PublicKey>;
  readonly timeouts: SessionTimeouts;
  /** 32 fresh random bytes for this node's Ack. */
  readonly nonce: Nonce;
  /** Key generation: public half of a sealing key that was made for this session alone. Else null. */
  readonly sealing: X25519PublicKey | null;
}

/** Time enters as data. */
export interface SessionContext {
  readonly now: UnixMs;
}

export type SessionEvent =
  /** A message of a peer (whom the envelope authenticated), or the signed form of an own one that named this node. */
  | { readonly event: "message"; readonly from: NodeIndex; readonly message: SessionMessage }
  /** An armed time came. */
  | { readonly event: "tick" }
  /** `record-execution` is durable. */
  | { readonly event: "execution-recorded" }
  /** The store holds this execution id already: it must never run again. */
  | { readonly event: "execution-repeated" }
  | {
      readonly event: "engine-send";
      readonly to: NodeIndex | null;
      readonly round: number;
      readonly payload: Uint8Array;
    }
  | {
      readonly event: "engine-progress";
      readonly round: number;
      readonly rounds: number;
      readonly step: string;
    }
  | { readonly event: "engine-done"; readonly result: EngineResult }
  | { readonly event: "engine-failed"; readonly failure: EngineFailure }
  /** The presignature is durably burned for this session. */
  | { readonly event: "burned"; readonly receipt: BurnReceipt }
  | { readonly event: "burn-refused"; readonly presignatureId: PresignatureId; readonly code: ErrorCode }
  | {
      readonly event: "partial-issued";
      readonly presignatureId: PresignatureId;
      readonly partial: Uint8Array;
    }
  | { readonly event: "partial-refused"; readonly presignatureId: PresignatureId; readonly code: ErrorCode }
  | { readonly event: "combined"; readonly input: number; readonly signature: EngineSignature }
  | { readonly event: "combine-failed"; readonly input: number; readonly blamed: readonly NodeIndex[] }
  /** Answer to `verify`. */
  | { readonly event: "verified"; readonly from: NodeIndex; readonly valid: boolean }
  /** The node itself ends the session (shutdown, ban, expiry). */
  | { readonly event: "cancel"; readonly code: AbortCode }
  /** A peer's connection dropped and stayed away. */
  | { readonly event: "departed"; readonly node: NodeIndex };

export type SessionEffect =
  /**
   * Sign `message.body` under `message.domain` (unless that is null) and send it to `to`. Where `to` holds this node itself, the
   * signed form comes back as an event `message`. `sealTo` is null but in key generation, where the payload for a recipient is sealed
   * to the key that stands here for it, inside the envelope.
   */
  | {
      readonly effect: "send";
      readonly to: readonly NodeIndex[];
      readonly session: SessionId;
      readonly round: number;
      readonly message: UnsignedMessage;
      readonly sealTo: ReadonlyMap<NodeIndex, X25519PublicKey> | null;
    }
  /** Call back with `tick` at this time. A later `arm` replaces an earlier one of the same session. */
  | { readonly effect: "arm"; readonly at: UnixMs }
  /** Make durable that this node took part in `execution`; then `execution-recorded`, or `execution-repeated` where it is known. */
  | { readonly effect: "record-execution"; readonly session: SessionId; readonly execution: ExecutionId }
  | { readonly effect: "engine-start"; readonly spec: EngineSpec }
  | { readonly effect: "engine-receive"; readonly from: NodeIndex; readonly payload: Uint8Array }
  | { readonly effect: "engine-cancel" }
  /** Burn durably; then `burned` or `burn-refused`. */
  | { readonly effect: "burn"; readonly presignatureId: PresignatureId; readonly session: SessionId }
  /** Ask the engine for this node's partial; then `partial-issued` or `partial-refused`. */
  | {
      readonly effect: "issue-partial";
      readonly receipt: BurnReceipt;
      readonly keyId: KeyId;
      readonly epoch: number;
      readonly presignatureId: PresignatureId;
      readonly path: KeyPath;
      readonly signers: readonly NodeIndex[];
      readonly preimage: Uint8Array;
    }
  /** Ask the engine to combine; then `combined` or `combine-failed`. The engine verifies the signature before it answers. */
  | {
      readonly effect: "combine";
      readonly input: number;
      readonly keyId: KeyId;
      readonly presignatureId: PresignatureId;
      readonly path: KeyPath;
      readonly preimage: Uint8Array;
      readonly partials: readonly { readonly from: NodeIndex; readonly partial: Uint8Array }[];
    }
  /** Verify a peer's signatures, each under its child key; then `verified` with the same `from`. */
  | {
      readonly effect: "verify";
      readonly from: NodeIndex;
      readonly keyId: KeyId;
      readonly items: readonly {
        readonly path: KeyPath;
        readonly preimage: Uint8Array;
        readonly signature: EngineSignature;
      }[];
    }
  /** The session cannot use these up any more and nobody may use them again: `ready → discarded` for those not burned yet. */
  | { readonly effect: "discard"; readonly presignatureIds: readonly PresignatureId[] }
  /** The session is done. Signatures are verified, in the order of the grant. */
  | { readonly effect: "finished"; readonly result: SessionResult }
  /** The session is over without a result. `excluded` are left out of this subject's next attempts where possible. */
  | {
      readonly effect: "ended";
      readonly code: AbortCode | NackCode;
      readonly blamed: readonly NodeIndex[];
      readonly excluded: readonly NodeIndex[];
      readonly message: string;
    }
  | ({ readonly effect: "violation" } & SessionViolation)
  /** A message was dropped: for the audit log and metrics. */
  | {
      readonly effect: "refused";
      readonly from: NodeIndex;
      readonly kind: SessionMessage["kind"];
      readonly code: ErrorCode;
      readonly message: string;
    };

export type SessionResult =
  | {
      readonly kind: "signatures";
      readonly execution: ExecutionId;
      readonly signatures: readonly EngineSignature[];
    }
  | {
      readonly kind: "engine";
      readonly execution: ExecutionId;
      readonly result: Exclude<EngineResult, { readonly kind: "cggmp24-sign" | "frost-sign" }>;
    };

/** A fault that the machine saw. Those with signed parts can be proved to third parties; the rest only exclude. */
export type SessionViolation =
  | {
      readonly violation: "Equivocation";
      readonly node: NodeIndex;
      /** Both signed by `node`, of one (execution, round, kind), with different digests. */
      readonly broadcasts: readonly [SignedBroadcast, SignedBroadcast];
    }
  | {
      readonly violation: "InvalidPartial";
      readonly node: NodeIndex;
      /** To be judged against the public data that all signers signed. */
      readonly partial: SignedPartial;
    }
  | { readonly violation: "InvalidRoundMessage"; readonly node: NodeIndex; readonly round: number }
  | {
      readonly violation: "InvalidSignature";
      readonly node: NodeIndex;
      readonly kind: SessionMessage["kind"];
    }
  | { readonly violation: "Timeout"; readonly node: NodeIndex };

interface Live {
  readonly setup: SessionSetup;
  readonly proposalHash: HashHex;
  readonly openedAt: UnixMs;
  readonly deadline: UnixMs;
}

/** Waiting for Acks (initiator) or for Start (signer). */
export interface ProposedState extends Live {
  readonly phase: "proposed";
  /** Initiator: those that came, its own among them. */
  readonly acks: ReadonlyMap<NodeIndex, SignedAck>;
  /** Rounds and partials that overtook Start. */
  readonly early: readonly EarlyMessage[];
}

/** All Acks are there; the execution is being recorded. */
export interface StartedState extends Live {
  readonly phase: "started";
  readonly execution: ExecutionId;
  readonly sessionDeadline: UnixMs;
  readonly sealTo: ReadonlyMap<NodeIndex, X25519PublicKey> | null;
  readonly early: readonly EarlyMessage[];
}

/**
 * The engine runs, or partials are made and gathered; `finalising` once a peer's Finalize is being verified, while all that goes on, since
 * it may turn out wrong.
 */
export interface RoundsState extends Live {
  readonly phase: "rounds" | "finalising";
  readonly execution: ExecutionId;
  readonly sessionDeadline: UnixMs;
  readonly sealTo: ReadonlyMap<NodeIndex, X25519PublicKey> | null;
  /** First broadcast of each (sender, round, kind), to notice a second one that differs. */
  readonly broadcasts: ReadonlyMap<string, SignedBroadcast>;
  /** Own broadcasts of each round so far. */
  readonly sent: ReadonlyMap<number, number>;
  /** Messages for the engine that each peer sent so far, for telling who is silent. */
  readonly heard: ReadonlyMap<NodeIndex, number>;
  /** Of a presigned session; else empty. */
  readonly inputs: readonly InputState[];
  /** Signatures of peers' Finalize messages: one a peer. */
  readonly claims: ReadonlyMap<NodeIndex, readonly EngineSignature[]>;
}

export interface DoneState {
  readonly phase: "done";
  readonly setup: SessionSetup;
  readonly result: SessionResult;
}

export interface FailedState {
  readonly phase: "failed";
  readonly setup: SessionSetup;
  readonly code: AbortCode | NackCode;
  readonly blamed: readonly NodeIndex[];
}

export type SessionState = ProposedState | StartedState | RoundsState | DoneState | FailedState;

/** Where one input of a presigned session stands at this node. */
export interface InputState {
  readonly input: PresignedInput;
  readonly step: "burning" | "issuing" | "gathering" | "combining" | "combined";
  readonly partials: ReadonlyMap<NodeIndex, SignedPartial>;
  readonly signature: EngineSignature | null;
}

export interface EarlyMessage {
  readonly from: NodeIndex;
  readonly message: SessionMessage;
  readonly bytes: number;
}

export interface SessionStep {
  readonly state: SessionState;
  readonly effects: readonly SessionEffect[];
}
