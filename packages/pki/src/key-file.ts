import { chmod, mkdir, open, readFile, rename, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { CairnError } from "@cairn/core";

/** Makes a folder that only its owner can enter. @throws CairnError `file-mode` when it exists and others can */
export async function makePrivateFolder(path: string): Promise<void> {
  const made = await mkdir(path, { recursive: true, mode: 0o700 });
  // The mode of mkdir is subject to the umask, and never applies to a folder that was there.
  if (made !== undefined) await chmod(path, 0o700);
  await refuseOpenTo(path, 0o700);
}

/**
 * Writes a new key file of mode 0600, durably.
 * @throws CairnError `file-exists` rather than overwrite a key
 */
export async function writeKeyFile(path: string, pem: Uint8Array): Promise<void> {
  try {
    await writeDurably(path, pem, 0o600);
  } catch (cause) {
    if (!isFileError(cause, "EEXIST")) throw cause;
    throw new CairnError(
      "file-exists",
      "there is a key file already; move it away first",
      { path },
      { cause },
    );
  }
}

/**
 * Reads a key file.
 * @throws CairnError `file-missing`, or `file-mode` when others than its owner can read it
 */
export async function readKeyFile(path: string): Promise<Uint8Array> {
  await refuseOpenTo(path, 0o600);
  return readFile(path);
}

/** Writes a public file, such as a certificate or a revocation list, in one step: readers see the old one or the new one. */
export async function replacePublicFile(path: string, content: Uint8Array): Promise<void> {
  const draft = `${path}.new`;
  await unlink(draft).catch((cause) => {
    if (!isFileError(cause, "ENOENT")) throw cause;
  });
  await writeDurably(draft, content, 0o644);
  await rename(draft, path);
  const folder = await open(dirname(path));
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function writeDurably(path: string, content: Uint8Array, mode: number): Promise<void> {
  const file = await open(path, "wx", mode);
  try {
    await file.chmod(mode);
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function refuseOpenTo(path: string, wanted: number): Promise<void> {
  let mode: number;
  try {
    mode = (await stat(path)).mode & 0o777;
  } catch (cause) {
    if (!isFileError(cause, "ENOENT")) throw cause;
    throw new CairnError("file-missing", "the file does not exist", { path }, { cause });
  }
  if ((mode & 0o077) === 0) return;
  throw new CairnError(
    "file-mode",
    `others than its owner can reach the file; run chmod ${wanted.toString(8)} on it`,
    { path, mode: mode.toString(8) },
  );
}

function isFileError(cause: unknown, code: string): boolean {
  return cause instanceof Error && "code" in cause && cause.code === code;
}
