import type { ExecutionId, KeyId, KeyPath, NodeIndex, PresignatureId } from "@cairn/core";

/**
 * The port behind which secret arithmetic happens. Shares, presignatures and nonces cross it only sealed;
 * heavy work runs on native threads, never on the event loop.
 */
export interface Engine {
  /** `full` uses the security level of production; `reduced` exists for tests and tags what it makes. */
  readonly level: "full" | "reduced";

  /**
   * Opens one multi-party session at this node. Outgoing messages, progress and the end arrive through `listener`,
   * in order, on later turns of the event loop. Exactly one of `done` and `failed` is the last call.
   */
  start(spec: EngineSpec, listener: EngineListener): EngineSession;

  /**
   * Makes this node's signature share from a presignature: the only way to use one. The receipt proves that the
   * presignature was burned durably before this call. The engine itself refuses an id it has seen, and a receipt whose burn
   * counter does not rise.
   * @throws CairnError `presignature-used`, `presignature-mismatch`, `sealed-blob-invalid`
   */
  issuePartial(input: IssuePartial): Promise<Uint8Array>;

  /**
   * Combines t partials of one presignature, checks each one against public data and the result against the child key.
   * @throws CairnError `invalid-partial` with `blamed` node indices
   */
  combinePartials(input: CombinePartials): Promise<EngineSignature>;

  /** Verifies a signature under the child key of `publicPackage` at `path`. */
  verify(input: {
    readonly publicPackage: Uint8Array;
    readonly path: KeyPath;
    readonly preimage: Uint8Array;
    readonly signature: EngineSignature;
  }): Promise<boolean>;

  /** What clients may know of a key: group public key and chain code. */
  describe(publicPackage: Uint8Array): Promise<PublicKeyDescription>;

  /** Safe primes in stock: four are needed for one node's auxiliary information of one cluster. */
  primes(): Promise<{ readonly ready: number; readonly target: number; readonly generating: boolean }>;

  /** Ends all sessions and wipes what the engine holds. */
  close(): Promise<void>;
}

export type EngineSpec =
  | {
      readonly kind: "cggmp24-aux";
      readonly executionId: ExecutionId;
      readonly me: NodeIndex;
      /** All parties, ascending. */
      readonly parties: readonly NodeIndex[];
    }
  | {
      readonly kind: "cggmp24-keygen";
      readonly executionId: ExecutionId;
      readonly keyId: KeyId;
      readonly epoch: number;
      readonly me: NodeIndex;
      readonly parties: readonly NodeIndex[];
      readonly threshold: number;
      /** Sealed result of this node's `cggmp24-aux` over the same parties. */
      readonly sealedAux: Uint8Array;
    }
  | {
      readonly kind: "frost-keygen";
      readonly executionId: ExecutionId;
      readonly keyId: KeyId;
      readonly epoch: number;
      readonly me: NodeIndex;
      readonly parties: readonly NodeIndex[];
      readonly threshold: number;
    }
  | {
      readonly kind: "cggmp24-presign";
      readonly executionId: ExecutionId;
      readonly keyId: KeyId;
      readonly epoch: number;
      readonly me: NodeIndex;
      /** Exactly t signers, ascending. */
      readonly signers: readonly NodeIndex[];
      readonly sealedShare: Uint8Array;
      /** One presignature for each path: the path is fixed here and can never be chosen later (eprint 2021/1330). */
      readonly items: readonly { readonly presignatureId: PresignatureId; readonly path: KeyPath }[];
    }
  | {
      readonly kind: "cggmp24-sign" | "frost-sign";
      readonly executionId: ExecutionId;
      readonly keyId: KeyId;
      readonly epoch: number;
      readonly me: NodeIndex;
      readonly signers: readonly NodeIndex[];
      readonly sealedShare: Uint8Array;
      readonly items: readonly SigningItem[];
    };

/** One input to sign. The engine hashes the preimage itself, so that nobody can ask for a bare hash. */
export interface SigningItem {
  readonly path: KeyPath;
  /** ECDSA: the BIP-143 preimage (signed as SHA256d). FROST: 0x00 ‖ BIP-341 SigMsg (signed as TapSighash). */
  readonly preimage: Uint8Array;
}

export interface EngineSession {
  /** Hands in a message of a peer that the caller authenticated. Bad content fails the session and names the peer. */
  receive(from: NodeIndex, payload: Uint8Array): void;
  /** Ends the session at once; nothing more is emitted. Idempotent. */
  cancel(): void;
}

export interface EngineListener {
  /** `to: null` is a broadcast to all other parties. `round` counts from 1. */
  send(message: {
    readonly to: NodeIndex | null;
    readonly round: number;
    readonly payload: Uint8Array;
  }): void;
  progress(progress: { readonly round: number; readonly rounds: number; readonly step: string }): void;
  done(result: EngineResult): void;
  failed(failure: EngineFailure): void;
}

export type EngineResult =
  | { readonly kind: "cggmp24-aux"; readonly sealedAux: Uint8Array }
  | {
      readonly kind: "cggmp24-keygen" | "frost-keygen";
      readonly sealedShare: Uint8Array;
      /** Canonical and byte-identical at every honest party. */
      readonly publicPackage: Uint8Array;
    }
  | {
      readonly kind: "cggmp24-presign";
      readonly items: readonly {
        readonly presignatureId: PresignatureId;
        readonly sealed: Uint8Array;
        /** Byte-identical at every signer: what `combinePartials` and blame need. */
        readonly publicData: Uint8Array;
      }[];
    }
  | { readonly kind: "cggmp24-sign" | "frost-sign"; readonly signatures: readonly EngineSignature[] };

/** 64 bytes: ECDSA r ‖ s with low s, or BIP-340 R.x ‖ s. */
export type EngineSignature = Uint8Array;

export interface EngineFailure {
  readonly code:
    | "invalid-round-message"
    | "equivocation"
    | "invalid-signature"
    | "sealed-blob-invalid"
    | "no-primes"
    | "internal";
  readonly round: number;
  /** Nodes whose messages failed a check; empty where the protocol names nobody. */
  readonly blamed: readonly NodeIndex[];
  readonly message: string;
}

export interface BurnReceipt {
  readonly presignatureId: PresignatureId;
  readonly epoch: number;
  /** The store's durable, ever-rising count of burns. */
  readonly burnCounter: number;
}

export interface IssuePartial {
  readonly keyId: KeyId;
  readonly epoch: number;
  readonly me: NodeIndex;
  readonly sealedPresignature: Uint8Array;
  readonly receipt: BurnReceipt;
  readonly path: KeyPath;
  readonly signers: readonly NodeIndex[];
  readonly preimage: Uint8Array;
}

export interface CombinePartials {
  readonly publicPackage: Uint8Array;
  readonly publicData: Uint8Array;
  readonly path: KeyPath;
  readonly preimage: Uint8Array;
  readonly partials: readonly { readonly from: NodeIndex; readonly partial: Uint8Array }[];
}

export interface PublicKeyDescription {
  readonly protocol: "cggmp24" | "frost";
  /** 33-byte compressed group key; for FROST the key that BIP-341 tweaks, with even y where the crate gives it so. */
  readonly publicKey: Uint8Array;
  /** 32 bytes. */
  readonly chainCode: Uint8Array;
  readonly threshold: number;
  readonly parties: readonly NodeIndex[];
  readonly level: "full" | "reduced";
}
