import { native } from "@cairn/native-engine/reduced";
import type { Engine } from "@cairn/signing";
import { type BackupOpener, backupOpenerOver } from "./backup.ts";
import { createVerificationOver, type Verification } from "./create-verification.ts";
import { type OpenEngineOptions, type OpenedEngine, openEngine } from "./open-engine.ts";

/**
 * Opens the engine at the reduced level: same protocols, numbers far too small to protect anything. For tests and for the test-only
 * entry point of the daemon; what it makes carries the level, and the full engine refuses it.
 */
export async function createReducedEngine(options: OpenEngineOptions): Promise<OpenedEngine> {
  return openEngine(native, options);
}

/** What needs no secrets, at the reduced level. */
export const reducedVerification: Verification = createVerificationOver(native);

/** What opens backups, at the reduced level. */
export async function createReducedBackupOpener(): Promise<BackupOpener> {
  return backupOpenerOver(native);
}

/** The level that this subpath stands for. */
export const reducedLevel: Engine["level"] = "reduced";
