import { join } from "node:path";
import { Ed25519Signer, parseShape, SealingKey } from "@cairn/core";
import { makePrivateFolder, replacePublicFile, writeKeyFile } from "@cairn/pki";
import { type MemberEntry, memberEntrySchema } from "./member-entry.ts";
import { writeFolder } from "./write-folder.ts";
import { writeVaultKey } from "./write-vault-key.ts";

export interface NodeKeysOptions {
  /** Folder to make; it must not exist, or be empty. */
  readonly dir: string;
  readonly name: string;
  /** `host:port` where peers reach the node. */
  readonly peer: string;
  /** Base URL of the node's REST API for clients, or null. */
  readonly api: string | null;
}

/**
 * Makes a node's and its operator's keys on the machine where they will stay, and the entry that others may see.
 *
 * ```text
 * <dir>/identity.pem  sealing.pem  vault.key  operator.pem  member.json  data/
 * ```
 *
 * @throws CairnError `file-exists`, `malformed`, `storage-full`, `storage-failed`
 */
export async function createNodeKeys(options: NodeKeysOptions): Promise<MemberEntry> {
  const identity = Ed25519Signer.generate();
  const sealing = SealingKey.generate();
  const operator = Ed25519Signer.generate();
  const entry = parseShape(memberEntrySchema, {
    name: options.name,
    identity: identity.publicKey,
    sealing: sealing.publicKey,
    operator: operator.publicKey,
    addresses: [`tcp://${options.peer}`],
    api: options.api,
  });
  await writeFolder(options.dir, async (draft) => {
    await makePrivateFolder(join(draft, "data"));
    await writeKeyFile(join(draft, "identity.pem"), identity.toPem());
    await writeKeyFile(join(draft, "sealing.pem"), sealing.toPem());
    await writeVaultKey(join(draft, "vault.key"));
    await writeKeyFile(join(draft, "operator.pem"), operator.toPem());
    await replacePublicFile(join(draft, "member.json"), jsonFile(entry));
  });
  return entry;
}

function jsonFile(value: unknown): Uint8Array {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`, "utf8");
}
