import type { BackupList } from "@cairn/client";
import { decodeCanonical, encodeCanonical, signedVerifiedBackupSchema } from "@cairn/core";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";
import { timeText } from "../time-text.ts";

/** Endpoints of backups. */
export function backupHandlers({
  node: { backups },
  makeBackup,
  me,
}: ApiModules): Pick<Handlers, "createBackup" | "listBackups" | "confirmBackup"> {
  const list = (): BackupList => ({
    backups: backups.words().map((signed) => ({
      node: signed.body.node,
      backup: signed.body.backup,
      createdAt: timeText(signed.body.createdAt),
      verifiedAt: timeText(signed.body.verifiedAt),
      keys: signed.body.keys.map(({ keyId, epoch }) => ({ keyId, epoch })),
      word: Buffer.from(encodeCanonical(signed)).toString("base64"),
    })),
    unbacked: backups
      .unbacked()
      .map(({ keyId, epoch, missing }) => ({ keyId, epoch, missing: [...missing] })),
  });

  return {
    async createBackup() {
      const { backup, createdAt, keys, recipients, file } = await makeBackup();
      return {
        backup,
        node: me,
        createdAt: timeText(createdAt),
        keys: [...keys],
        recipients: [...recipients],
        file: Buffer.from(file).toString("base64"),
      };
    },
    listBackups: async () => list(),
    async confirmBackup({ body }) {
      await backups.take(decodeCanonical(signedVerifiedBackupSchema, Buffer.from(body.word, "base64")));
      return list();
    },
  };
}
