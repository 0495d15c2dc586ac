/** Level a binary was built for; what it makes carries the level and the other level refuses it. */
export type NativeLevel = "full" | "reduced";

export type NativeCode =
  | "malformed"
  | "invalid-round-message"
  | "equivocation"
  | "invalid-signature"
  | "invalid-partial"
  | "presignature-used"
  | "presignature-mismatch"
  | "sealed-blob-invalid"
  | "vault-locked"
  | "file-mode"
  | "file-missing"
  | "file-exists"
  | "no-primes"
  | "busy"
  | "closed"
  | "internal";

export interface NativeFailure {
  code: NativeCode;
  /** Counted from 1; 0 where no round applies. */
  round: number;
  /** Node indices. */
  blamed: number[];
  message: string;
}

export type NativeKeySource =
  | { kind: "file"; path: string }
  | { kind: "credential"; name: string }
  | { kind: "passphrase-file"; path: string }
  | { kind: "passphrase-fd"; descriptor: number };

/** Where Rust reads a passphrase or an age identity; neither passes through JavaScript. */
export type NativeAskedSecret =
  | { kind: "file"; path: string }
  | { kind: "descriptor"; descriptor: number }
  | { kind: "terminal"; question: string };

/** A sealed blob that a backup can hold, and where it belongs: a key's id and epoch, or the id of a set of parties and 0. */
export interface NativeBackupItem {
  kind: "cggmp24-aux" | "cggmp24-share" | "frost-share";
  id: Uint8Array;
  epoch: number;
  sealed: Uint8Array;
}

export interface NativeBackupOptions {
  document: Uint8Array;
  files: { name: string; content: Uint8Array }[];
  items: NativeBackupItem[];
  /** age recipients; empty with a passphrase. */
  recipients: string[];
  passphrase?: NativeAskedSecret;
}

/** An opened backup. Its shares stay in Rust. */
export interface NativeBackup {
  cluster(): Uint8Array;
  node(): number;
  document(): Uint8Array;
  names(): string[];
  file(name: string): Uint8Array | null;
  checkShare(publicPackage: Uint8Array): Promise<{ failure?: NativeFailure }>;
  checkAux(parties: number[]): Promise<{ failure?: NativeFailure }>;
  /** Seals everything for the vault of an engine of the same node. */
  reseal(engine: NativeEngine): NativeBackupItem[];
  close(): void;
}

export interface NativeEngineOptions {
  /** 32 bytes. */
  cluster: Uint8Array;
  /** 1 to 255. */
  node: number;
  /** Path of the vault's header file; made when there is none. */
  vaultHeader: string;
  keySource: NativeKeySource;
  /** Size of the process's pool; the first engine decides. */
  threads?: number;
}

export interface NativeItem {
  change: number;
  index: number;
  id?: Uint8Array;
  preimage?: Uint8Array;
}

export interface NativeSealedPrime {
  id: Uint8Array;
  sealed: Uint8Array;
}

export interface NativeSessionOptions {
  kind:
    | "cggmp24-aux"
    | "cggmp24-keygen"
    | "frost-keygen"
    | "cggmp24-presign"
    | "cggmp24-sign"
    | "frost-sign";
  executionId: Uint8Array;
  me: number;
  parties: number[];
  keyId?: Uint8Array;
  epoch?: number;
  threshold?: number;
  sealedAux?: Uint8Array;
  sealedShare?: Uint8Array;
  primes?: NativeSealedPrime[];
  items?: NativeItem[];
}

export interface NativeSessionEvent {
  type: "send" | "progress" | "done" | "failed";
  /** Absent: to all other parties. */
  to?: number;
  round?: number;
  rounds?: number;
  step?: string;
  payload?: Uint8Array;
  sealedAux?: Uint8Array;
  sealedShare?: Uint8Array;
  publicPackage?: Uint8Array;
  presignatures?: { id: Uint8Array; sealed: Uint8Array; publicData: Uint8Array }[];
  signatures?: Uint8Array[];
  failure?: NativeFailure;
}

export interface NativePrimeEvent {
  id?: Uint8Array;
  sealed?: Uint8Array;
  failure?: NativeFailure;
}

export interface NativeIssueOptions {
  keyId: Uint8Array;
  epoch: number;
  sealedPresignature: Uint8Array;
  presignatureId: Uint8Array;
  receiptEpoch: number;
  burnCounter: number;
  change: number;
  index: number;
  signers: number[];
  preimage: Uint8Array;
}

/** One session at this node. It is cancelled when nobody holds it any more. */
export interface NativeSession {
  /** A message of an authenticated peer. Nodes outside the session are ignored; anything else out of place ends it. */
  receive(from: number, payload: Uint8Array): void;
  /** Idempotent; nothing is emitted afterwards. */
  cancel(): void;
}

export interface NativeEngine {
  /** Events arrive in order on later turns; `done` or `failed` is the last. A live session keeps the process alive. */
  start(options: NativeSessionOptions, callback: (event: NativeSessionEvent) => void): NativeSession;
  issuePartial(options: NativeIssueOptions): Uint8Array;
  seal(label: string, plain: Uint8Array): Uint8Array;
  openSecret(label: string, sealed: Uint8Array): Uint8Array;
  generatePrimes(count: number, threads: number, callback: (event: NativePrimeEvent) => void): void;
  stopGenerating(): void;
  isGenerating(): boolean;
  /** Opens the items inside Rust and encrypts them with the rest into one age file. */
  createBackup(options: NativeBackupOptions): Promise<{ file?: Uint8Array; failure?: NativeFailure }>;
  close(): void;
}

export interface NativeKeyDescription {
  protocol: "cggmp24" | "frost";
  level: NativeLevel;
  publicKey: Uint8Array;
  chainCode: Uint8Array;
  threshold: number;
  parties: number[];
  keyId: Uint8Array;
  epoch: number;
}

/** Errors thrown carry a {@link NativeCode} as `code`. */
export interface NativeBinding {
  level(): NativeLevel;
  createKeyFile(path: string): void;
  NativeEngine: { open(options: NativeEngineOptions): NativeEngine };
  NativeBackup: { open(file: Uint8Array, secret: NativeAskedSecret): NativeBackup };
  /** Makes an age identity in a new file of mode 0600, and says its recipient. */
  createBackupIdentity(path: string): string;
  backupWantsPassphrase(file: Uint8Array): boolean;
  combine(
    publicPackage: Uint8Array,
    publicData: Uint8Array,
    change: number,
    index: number,
    preimage: Uint8Array,
    partials: { from: number; partial: Uint8Array }[],
  ): Promise<{ signature?: Uint8Array; failure?: NativeFailure }>;
  verify(
    publicPackage: Uint8Array,
    change: number,
    index: number,
    preimage: Uint8Array,
    signature: Uint8Array,
  ): Promise<{ valid?: boolean; failure?: NativeFailure }>;
  describe(publicPackage: Uint8Array): NativeKeyDescription;
}

export const native: NativeBinding;
