import { createReducedBackupOpener, createReducedEngine } from "@cairn/engine/reduced";
import { runBackup } from "./backup/run-backup.ts";

/** Backups of nodes that run with the reduced engine, for tests on regtest. */
await runBackup(process.argv.slice(2), {
  opener: createReducedBackupOpener,
  openEngine: createReducedEngine,
});
