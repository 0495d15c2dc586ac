export {
  type AskedSecret,
  type BackupOpener,
  type BackupParts,
  type BackupVault,
  OpenedBackup,
  type SealedItem,
} from "./backup.ts";
export * from "./create-backup-opener.ts";
export * from "./create-engine.ts";
export * from "./create-key-file.ts";
export * from "./create-verification.ts";
export type { OpenEngineOptions, OpenedEngine } from "./open-engine.ts";
