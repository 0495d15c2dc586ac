import { fromHex, type HashHex, hashHexSchema, type NodeIndex, nodeIndexSchema, toHex } from "@cairn/core";
import type {
  NativeAskedSecret,
  NativeBackup,
  NativeBackupItem,
  NativeBinding,
  NativeEngine,
} from "@cairn/native-engine";
import { failureError, nativeError } from "./native-error.ts";
import { plainBytes } from "./plain-bytes.ts";

/** Where Rust reads a passphrase or an age identity; neither passes through JavaScript. */
export type AskedSecret = NativeAskedSecret;

/** A blob that a vault has sealed, and where it belongs. */
export interface SealedItem {
  readonly kind: NativeBackupItem["kind"];
  /** The key's id; for auxiliary information the id of its set of parties. */
  readonly id: HashHex;
  /** The key's; 0 for auxiliary information. */
  readonly epoch: number;
  readonly sealed: Uint8Array;
}

/** What a backup is made of. */
export interface BackupParts {
  /** What is no secret. */
  readonly document: Uint8Array;
  /** Files of the node's folder by name, keys among them. */
  readonly files: readonly { readonly name: string; readonly content: Uint8Array }[];
  readonly items: readonly SealedItem[];
  /** Who can open it: age recipients, or whoever knows the passphrase. */
  readonly lock: { readonly recipients: readonly string[] } | { readonly passphrase: AskedSecret };
}

/** Makes and restores backups with one vault: shares are opened and sealed inside Rust. */
export interface BackupVault {
  /**
   * One age file.
   * @throws CairnError `malformed` for recipients that are none, `sealed-blob-invalid`, `vault-locked`, `file-missing`, `file-mode`
   */
  create(parts: BackupParts): Promise<Uint8Array>;
  /** Seals what `backup` holds for this vault. @throws CairnError `malformed` for another node's */
  reseal(backup: OpenedBackup): readonly SealedItem[];
}

/** {@link BackupVault} over an opened engine. */
export function backupVault(native: NativeEngine): BackupVault {
  return {
    async create({ document, files, items, lock }) {
      const answer = await caught(() =>
        native.createBackup({
          document,
          files: files.map(({ name, content }) => ({ name, content })),
          items: items.map(({ kind, id, epoch, sealed }) => ({ kind, id: fromHex(id), epoch, sealed })),
          recipients: "recipients" in lock ? [...lock.recipients] : [],
          ...("passphrase" in lock ? { passphrase: lock.passphrase } : {}),
        }),
      );
      if (answer.file !== undefined) return plainBytes(answer.file);
      throw answer.failure === undefined ? nativeError(answer) : failureError(answer.failure);
    },
    reseal: (backup) =>
      caught(() => backup.native.reseal(native)).map(({ kind, id, epoch, sealed }) => ({
        kind,
        id: hashHexSchema.parse(toHex(id)),
        epoch,
        sealed: plainBytes(sealed),
      })),
  };
}

/** A backup that was decrypted. Its shares stay in Rust; close it to have them wiped. */
export class OpenedBackup {
  readonly native: NativeBackup;

  constructor(native: NativeBackup) {
    this.native = native;
  }

  get cluster(): string {
    return toHex(this.native.cluster());
  }

  get node(): NodeIndex {
    return nodeIndexSchema.parse(this.native.node());
  }

  /** What {@link BackupParts} held as the document. */
  document(): Uint8Array {
    return plainBytes(this.native.document());
  }

  names(): readonly string[] {
    return this.native.names();
  }

  /** A file of the node's folder, or null. Wipe it after use. */
  file(name: string): Uint8Array | null {
    return this.native.file(name);
  }

  /** @throws CairnError `sealed-blob-invalid` unless the share of this key is here, whole, and the one that the package names */
  async checkShare(publicPackage: Uint8Array): Promise<void> {
    const { failure } = await caught(() => this.native.checkShare(publicPackage));
    if (failure !== undefined) throw failureError(failure);
  }

  /** @throws CairnError `sealed-blob-invalid` unless auxiliary information of exactly these parties is here */
  async checkAuxiliary(parties: readonly NodeIndex[]): Promise<void> {
    const { failure } = await caught(() => this.native.checkAux([...parties]));
    if (failure !== undefined) throw failureError(failure);
  }

  close(): void {
    this.native.close();
  }
}

/** What opens backups and makes what they are locked to, at one level of security. */
export interface BackupOpener {
  /** @throws CairnError `malformed` when it is no age file */
  wantsPassphrase(file: Uint8Array): boolean;
  /** @throws CairnError `vault-locked` for the wrong secret; `malformed` for what is damaged, cut off or no backup; those of the secret's source */
  open(file: Uint8Array, secret: AskedSecret): OpenedBackup;
  /** Makes an age identity in a new file of mode 0600; resolves to its recipient. @throws CairnError `file-exists`, `file-mode` */
  createIdentity(path: string): string;
  /** Makes a key-encryption key in a new file of mode 0600. @throws CairnError `file-exists`, `file-mode` */
  createKeyFile(path: string): void;
}

/** {@link BackupOpener} over a loaded native library. */
export function backupOpenerOver(native: NativeBinding): BackupOpener {
  return {
    wantsPassphrase: (file) => caught(() => native.backupWantsPassphrase(file)),
    open: (file, secret) => new OpenedBackup(caught(() => native.NativeBackup.open(file, secret))),
    createIdentity: (path) => caught(() => native.createBackupIdentity(path)),
    createKeyFile: (path) => caught(() => native.createKeyFile(path)),
  };
}

function caught<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw nativeError(error);
  }
}
