import { randomBytes } from "node:crypto";
import { writeKeyFile } from "@cairn/pki";

/**
 * Makes a node's key-encryption key: 32 bytes of the operating system's random source in a file of mode 0600.
 * @throws CairnError `file-exists`
 */
export async function writeVaultKey(path: string): Promise<void> {
  const key = randomBytes(32);
  try {
    await writeKeyFile(path, key);
  } finally {
    key.fill(0);
  }
}
