import { createBackupOpener, createEngine } from "@cairn/engine";
import { runBackup } from "./backup/run-backup.ts";

/** `node packages/node/src/backup-main.ts keygen|create|verify|restore …`, what `cairn backup` runs. */
await runBackup(process.argv.slice(2), { opener: createBackupOpener, openEngine: createEngine });
