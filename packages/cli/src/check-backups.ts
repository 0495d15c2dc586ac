import {
  CairnError,
  decodeCanonical,
  isCairnError,
  type NodeIndex,
  signedVerifiedBackupSchema,
  verifyVerifiedBackup,
} from "@cairn/core";
import type { ClusterAccess } from "./cluster-access.ts";
import type { CommandContext } from "./command-context.ts";
import { askEach } from "./node-answer.ts";
import type { TrustedWallet } from "./trusted-wallet.ts";

/**
 * On mainnet, an address is shown only once every member's operator has signed that a backup of its share was verified. The signatures are checked
 * here: no node can claim a backup, and one that hides some is made up for by another.
 * @throws CairnError `not-backed-up` on mainnet, unless `override`
 */
export async function checkBackups(
  { output }: CommandContext,
  access: ClusterAccess,
  { record }: TrustedWallet,
  override: boolean,
): Promise<void> {
  if (record.network !== "mainnet") return;
  const { manifest } = await access.constitution();
  const answers = await askEach(
    access.clients().map(({ endpoint, client }) => ({ endpoint, ask: () => client.call("listBackups", {}) })),
  );
  const words = answers.flatMap(({ value }) => value?.backups ?? []).map(({ word }) => word);
  const holders = new Set<NodeIndex>();
  for (const word of new Set(words)) {
    try {
      const signed = decodeCanonical(signedVerifiedBackupSchema, Buffer.from(word, "base64"));
      verifyVerifiedBackup(signed, manifest);
      if (signed.body.keys.some(({ keyId }) => keyId === record.keyId)) holders.add(signed.body.node);
    } catch (error) {
      if (!isCairnError(error)) throw error;
    }
  }
  const missing = manifest.members.map(({ index }) => index).filter((index) => !holders.has(index));
  if (missing.length === 0) return;
  const lacking = `nodes ${missing.join(", ")} have no verified backup of their share of this wallet's key`;
  if (override) return output.note(`warning: ${lacking}: coins are lost with too many of them`);
  throw new CairnError(
    "not-backed-up",
    `${lacking}: have their operators make, verify and confirm them (\`cairn backup\`), or say --override-backups`,
    { keyId: record.keyId, missing },
  );
}
