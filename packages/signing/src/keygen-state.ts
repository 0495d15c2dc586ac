import type {
  ClusterId,
  Ed25519PublicKey,
  ErrorCode,
  ExecutionId,
  KeygenApproval,
  KeygenRequest,
  KeyId,
  NodeIndex,
  Signed,
} from "@cairn/core";
import {
  hashHexSchema,
  keyIdSchema,
  type MessageKind,
  nodeIndexSchema,
  type SignedKeygenApproval,
  type SignedWalletRecord,
  signatureHexSchema,
  signedKeygenApprovalSchema,
  type UnixMs,
  type WalletRecord,
  walletRecordSchema,
} from "@cairn/core";
import { z } from "zod";
import { byteArraySchema } from "./byte-array.ts";
import type { EngineSignature } from "./engine.ts";
import type { KeygenStage } from "./proposal.ts";
import {
  type PublicPackageWord,
  type SignedPublicPackageWord,
  signedPublicPackageWordSchema,
} from "./public-package-word.ts";

const signedRecordWordSchema = z.strictObject({ body: walletRecordSchema, signature: signatureHexSchema });

const approvalsSchema = z.array(signedKeygenApprovalSchema).max(255);

/** What peers said so far; what comes early is kept until its time. One of each kind a node. */
const heardSchema = z.strictObject({
  approvals: approvalsSchema,
  words: z.array(signedPublicPackageWordSchema).max(255),
  records: z.array(z.strictObject({ node: nodeIndexSchema, signed: signedRecordWordSchema })).max(255),
});
export type KeygenHeard = z.output<typeof heardSchema>;

/** Parts whose test signatures verified: others may be ahead of this node. */
const tested = z.array(z.number().int().min(0)).max(255);

const packageFields = {
  keyId: keyIdSchema,
  heard: heardSchema,
  /** Attempt of the stage `keygen` that made the package. */
  attempt: z.number().int().min(0),
  publicPackage: byteArraySchema(1024 * 1024),
  packageHash: hashHexSchema,
};

/**
 * Where a key stands at this node. Plain data in canonical form's reach: the runtime persists it with every step and reads it back through this
 * schema after a restart.
 */
export const keyStateSchema = z.discriminatedUnion("phase", [
  z.strictObject({ phase: z.literal("approving"), keyId: keyIdSchema, heard: heardSchema }),
  /** Auxiliary information, then key generation, over all n. */
  z.strictObject({
    phase: z.literal("generating"),
    keyId: keyIdSchema,
    heard: heardSchema,
    step: z.enum(["aux", "keygen"]),
    failed: z.number().int().min(0),
  }),
  /** The share is stored; waiting for all nodes' words on the public package. */
  z.strictObject({
    phase: z.literal("confirming"),
    ...packageFields,
    tested,
    failed: z.number().int().min(0),
  }),
  z.strictObject({
    phase: z.literal("testing"),
    ...packageFields,
    tested,
    failed: z.number().int().min(0),
  }),
  /** This node has signed the record: others may have committed, so it never gives up by itself any more. */
  z.strictObject({
    phase: z.literal("recording"),
    ...packageFields,
    record: walletRecordSchema,
  }),
  z.strictObject({
    phase: z.enum(["active", "rotating", "retired"]),
    keyId: keyIdSchema,
    approvals: approvalsSchema,
  }),
  z.strictObject({
    phase: z.literal("failed"),
    keyId: keyIdSchema,
    /** Each node's word; that of one which gave up takes its approval's place. */
    approvals: approvalsSchema,
    /** Phase that it had come to. */
    during: z.enum(["approving", "generating", "confirming", "testing", "recording"]),
    code: z.string().max(64),
    blamed: z.array(nodeIndexSchema),
  }),
]);
export type KeyState = z.output<typeof keyStateSchema>;

/** What a generation is about, and the limits that it keeps. */
export interface KeygenSetup {
  readonly me: NodeIndex;
  readonly cluster: ClusterId;
  readonly keyId: KeyId;
  readonly request: KeygenRequest;
  /** All n, ascending. */
  readonly members: readonly NodeIndex[];
  readonly identities: ReadonlyMap<NodeIndex, Ed25519PublicKey>;
  /** Failed attempts of one stage after which this node gives up. */
  readonly maxAttempts: number;
}

/** Why a node gave a key up. */
export type KeygenFailure = ErrorCode | "operator-refused";

export interface KeygenContext {
  readonly now: UnixMs;
}

export type KeygenEvent =
  /**
   * This node's own decision. `auxExecution`: the execution that made the auxiliary information it holds for these members, or null; all nodes
   * must hold that of one execution, or it is made anew.
   */
  | {
      readonly event: "decided";
      readonly approve: boolean;
      readonly reason: ErrorCode | null;
      readonly auxExecution: ExecutionId | null;
    }
  | { readonly event: "approval"; readonly from: NodeIndex; readonly signed: SignedKeygenApproval }
  | { readonly event: "aux-finished"; readonly execution: ExecutionId; readonly sealedAux: Uint8Array }
  | {
      readonly event: "keygen-finished";
      readonly attempt: number;
      readonly sealedShare: Uint8Array;
      readonly publicPackage: Uint8Array;
    }
  /** Signatures of one test, made here or come with a Finalize, verified by the engine under the child key. */
  | {
      readonly event: "test-verified";
      readonly part: number;
      readonly signatures: readonly EngineSignature[];
    }
  /** One attempt of a stage ended without a result. */
  | {
      readonly event: "stage-ended";
      readonly stage: KeygenStage;
      readonly code: ErrorCode;
      readonly blamed: readonly NodeIndex[];
    }
  | { readonly event: "public-package"; readonly from: NodeIndex; readonly signed: SignedPublicPackageWord }
  /** Answer to `make-record`. */
  | { readonly event: "record-made"; readonly record: WalletRecord }
  | { readonly event: "wallet-signature"; readonly from: NodeIndex; readonly signed: Signed<WalletRecord> }
  | { readonly event: "tick" }
  /** This node's operator refuses the key, or ends a generation that others may have committed: the share stays stored. */
  | { readonly event: "abandon" }
  | { readonly event: "rotate" }
  | { readonly event: "retire" };

/** Sign `body` under `domain` and post it to `to`; where that holds this node, the signed form comes back as the event of that name. */
export type KeygenMessage =
  | {
      readonly kind: Extract<MessageKind, "keygen-approval">;
      readonly domain: "cairn/keygen-approval/v1";
      readonly body: KeygenApproval;
    }
  | {
      readonly kind: Extract<MessageKind, "public-package">;
      readonly domain: "cairn/public-package/v1";
      readonly body: PublicPackageWord;
    }
  | {
      readonly kind: Extract<MessageKind, "wallet-signature">;
      readonly domain: "cairn/wallet-record/v1";
      readonly body: WalletRecord;
    };

export type KeygenEffect =
  | { readonly effect: "send"; readonly to: readonly NodeIndex[]; readonly message: KeygenMessage }
  | { readonly effect: "arm"; readonly at: UnixMs }
  /** Let sessions of this stage run, attempt after attempt, until one has a result or the stage is dropped by a later effect. */
  | { readonly effect: "run-stage"; readonly stage: KeygenStage; readonly signers: readonly NodeIndex[] }
  | { readonly effect: "stop-stages" }
  | { readonly effect: "store-aux"; readonly execution: ExecutionId; readonly sealedAux: Uint8Array }
  /** Durable before the word on the public package leaves: whoever signs a package has its share. */
  | {
      readonly effect: "store-share";
      readonly attempt: number;
      readonly sealedShare: Uint8Array;
      readonly publicPackage: Uint8Array;
    }
  /** Make the wallet record from the package (descriptor, chain code) and the request; then `record-made`. */
  | { readonly effect: "make-record"; readonly publicPackage: Uint8Array }
  /** The key is active; `signed` holds all n signatures. */
  | { readonly effect: "activate"; readonly signed: SignedWalletRecord; readonly publicPackage: Uint8Array }
  | {
      readonly effect: "failed";
      readonly code: KeygenFailure;
      readonly blamed: readonly NodeIndex[];
      readonly message: string;
    }
  /** A node signed another record or package than this one: for alerts. */
  | { readonly effect: "disagrees"; readonly node: NodeIndex }
  | { readonly effect: "status"; readonly status: "rotating" | "retired" }
  | {
      readonly effect: "refused";
      readonly from: NodeIndex | null;
      readonly code: ErrorCode;
      readonly message: string;
    };

export interface KeygenStep {
  readonly state: KeyState;
  readonly effects: readonly KeygenEffect[];
}
