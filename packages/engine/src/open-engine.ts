import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { CairnError, type ClusterId, fromHex, type NodeIndex, type Vault } from "@cairn/core";
import type { NativeBinding, NativeEngine, NativeKeySource } from "@cairn/native-engine";
import type { Engine, EngineListener, EngineSession, EngineSpec, IssuePartial } from "@cairn/signing";
import { type BackupVault, backupVault } from "./backup.ts";
import { createVerificationOver } from "./create-verification.ts";
import { nativeError } from "./native-error.ts";
import { openSession } from "./open-session.ts";
import { plainBytes } from "./plain-bytes.ts";
import { createPrimePool } from "./prime-pool.ts";
import { openPrimeStore } from "./prime-store.ts";

export interface OpenEngineOptions {
  readonly clusterId: ClusterId;
  readonly me: NodeIndex;
  /** The node's data folder; the vault's header and the sealed primes live in it. Made with mode 0700. */
  readonly dataDir: string;
  /** Where Rust reads the key-encryption key, or the passphrase it derives it from. Neither passes through JavaScript. */
  readonly keySource: NativeKeySource;
  /** Threads that run sessions, shared by all engines of the process. Default: the number of cores. */
  readonly threads?: number;
  readonly primes?: {
    /** Safe primes to keep in stock. Default 4, what one auxiliary session uses; 0 never searches. */
    readonly target?: number;
    /** Threads of low priority that search. Default 1. */
    readonly threads?: number;
  };
}

/** The engine of a node and the vault of its own secrets: one key-encryption key, closed together. */
export interface OpenedEngine {
  readonly engine: Engine;
  readonly vault: Vault;
  readonly backups: BackupVault;
}

/** Implements {@link Engine} and {@link Vault} over a loaded native library. */
export async function openEngine(native: NativeBinding, options: OpenEngineOptions): Promise<OpenedEngine> {
  await makeFolder(options.dataDir);
  const handle = openNative(native, options);
  const store = await openPrimeStore(join(options.dataDir, "primes"));
  const primes = await createPrimePool(
    { target: options.primes?.target ?? 4, threads: options.primes?.threads ?? 1 },
    { native: handle, store },
  );
  const sessions = new Set<EngineSession>();

  const engine: Engine = {
    level: native.level(),
    ...createVerificationOver(native),

    start(spec: EngineSpec, listener: EngineListener): EngineSession {
      const session = openSession(spec, listener, {
        native: handle,
        primes,
        ended: (ended) => sessions.delete(ended),
      });
      sessions.add(session);
      return session;
    },

    async issuePartial(input: IssuePartial): Promise<Uint8Array> {
      const [change, index] = input.path;
      try {
        const partial = handle.issuePartial({
          keyId: fromHex(input.keyId),
          epoch: input.epoch,
          sealedPresignature: input.sealedPresignature,
          presignatureId: fromHex(input.receipt.presignatureId),
          receiptEpoch: input.receipt.epoch,
          burnCounter: input.receipt.burnCounter,
          change,
          index,
          signers: [...input.signers],
          preimage: input.preimage,
        });
        return plainBytes(partial);
      } catch (error) {
        throw nativeError(error);
      }
    },

    primes: () => primes.state(),

    async close(): Promise<void> {
      for (const session of [...sessions]) session.cancel();
      sessions.clear();
      await primes.close();
      handle.close();
    },
  };

  const vault: Vault = {
    async seal(label, plaintext) {
      try {
        return plainBytes(handle.seal(label, plaintext));
      } catch (error) {
        throw nativeError(error);
      }
    },
    async open(label, sealed) {
      try {
        return plainBytes(handle.openSecret(label, sealed));
      } catch (error) {
        throw nativeError(error);
      }
    },
    close: () => engine.close(),
  };

  return { engine, vault, backups: backupVault(handle) };
}

function openNative(native: NativeBinding, options: OpenEngineOptions): NativeEngine {
  try {
    return native.NativeEngine.open({
      cluster: fromHex(options.clusterId),
      node: options.me,
      vaultHeader: join(options.dataDir, "vault.header"),
      keySource: options.keySource,
      ...(options.threads === undefined ? {} : { threads: options.threads }),
    });
  } catch (error) {
    throw nativeError(error);
  }
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new CairnError("storage-failed", "the data folder cannot be made", { folder }, { cause });
  }
}
