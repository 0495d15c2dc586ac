import { type BackupOpener, backupOpenerOver } from "./backup.ts";
import { loadNative } from "./load-native.ts";

/**
 * What opens backups, at the security level of production.
 * @throws CairnError `native-missing`
 */
export async function createBackupOpener(): Promise<BackupOpener> {
  return backupOpenerOver(await loadNative());
}
