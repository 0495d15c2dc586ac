import { CairnError, type Clock, type HashHex, hashHexSchema, type KeyId, type UnixMs } from "@cairn/core";
import type { BackupVault } from "@cairn/engine";
import type { ManifestBook } from "@cairn/runtime";
import { backupId } from "./check-backup.ts";
import { type GatherModules, gatherBackup, wipe } from "./gather-backup.ts";

/** A backup that the running node made; only its recipients can open it. */
export interface MadeBackup {
  readonly backup: HashHex;
  readonly createdAt: UnixMs;
  readonly keys: readonly KeyId[];
  readonly recipients: readonly string[];
  readonly file: Uint8Array;
}

export interface BackupMakerModules extends Omit<GatherModules, "manifest"> {
  readonly book: Pick<ManifestBook, "manifest">;
  readonly vault: Pick<BackupVault, "create">;
  readonly clock: Clock;
  /** Told of every backup before it is handed out. */
  readonly made: (backup: Omit<MadeBackup, "file">) => Promise<void>;
}

/**
 * Makes backups of a running node, one after another, to the recipients of its configuration alone: who calls the API cannot name others.
 * @throws CairnError `wrong-state` where no recipient is configured, `busy` while another is made; those of store, files and vault
 */
export function backupMaker(modules: BackupMakerModules): () => Promise<MadeBackup> {
  let making = false;
  return async () => {
    const { recipients } = modules.loaded.config.backup;
    if (recipients.length === 0) {
      throw new CairnError(
        "wrong-state",
        "backup.recipients in cairn.toml names nobody who could open a backup: make a key with `cairn backup keygen` away from the node, put its recipient (age1…) there, and restart the node",
      );
    }
    if (making) throw new CairnError("busy", "a backup is being made: take that one, or ask again");
    making = true;
    try {
      const createdAt = modules.clock.now();
      const gathered = await gatherBackup({ ...modules, manifest: modules.book.manifest }, createdAt);
      try {
        const file = await modules.vault.create({ ...gathered, lock: { recipients } });
        const made = {
          backup: hashHexSchema.parse(backupId(file)),
          createdAt,
          keys: gathered.facts.keys.map(({ keyId }) => keyId),
          recipients,
        };
        await modules.made(made);
        return { ...made, file };
      } finally {
        wipe(gathered.files);
      }
    } finally {
      making = false;
    }
  };
}
