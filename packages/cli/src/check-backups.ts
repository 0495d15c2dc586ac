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
 * Members whose operators have not signed that a backup of their share of the wallet's key was verified, ascending. The signatures are
 * checked here: no node can claim a backup, and one that hides some is made up for by another.
 */
export async function missingBackups(
  access: ClusterAccess,
  { record }: TrustedWallet,
): Promise<readonly NodeIndex[]> {
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
  return manifest.members.map(({ index }) => index).filter((index) => !holders.has(index));
}

/**
 * On mainnet, an address is shown only once every member has a verified backup.
 * @throws CairnError `not-backed-up` on mainnet, unless `override`
 */
export async function checkBackups(
  { output }: CommandContext,
  access: ClusterAccess,
  wallet: TrustedWallet,
  override: boolean,
): Promise<void> {
  const { keyId, network } = wallet.record;
  if (network !== "mainnet") return;
  const missing = await missingBackups(access, wallet);
  if (missing.length === 0) return;
  const lacking = `nodes ${missing.join(", ")} have no verified backup of their share of this wallet's key`;
  if (override) return output.note(`warning: ${lacking}: coins are lost with too many of them`);
  throw new CairnError(
    "not-backed-up",
    `${lacking}: have their operators make, verify and confirm them (\`cairn backup\`), or say --override-backups`,
    { keyId, missing },
  );
}
