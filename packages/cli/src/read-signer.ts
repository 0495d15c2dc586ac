import { CairnError, Ed25519Signer } from "@cairn/core";
import { readKeyFile } from "@cairn/pki";
import { fileFailure } from "./file-failure.ts";

/**
 * The Ed25519 key of a key file.
 * @param what for messages: whose key, and the configuration key that names it
 * @throws CairnError `config-invalid` where none is configured; `file-missing`, `file-mode`, `malformed`
 */
export async function readSigner(
  path: string | undefined,
  what: { readonly name: string; readonly setting: string },
): Promise<Ed25519Signer> {
  if (path === undefined) {
    throw new CairnError(
      "config-invalid",
      `this needs ${what.name}, and the configuration names none; set ${what.setting} in it`,
      { key: what.setting },
    );
  }
  let pem: Uint8Array;
  try {
    pem = await readKeyFile(path);
  } catch (cause) {
    if (!(cause instanceof CairnError)) throw fileFailure(cause, path);
    throw new CairnError(cause.code, `${path}: ${cause.message}`, cause.data, { cause });
  }
  try {
    return Ed25519Signer.fromPem(pem);
  } finally {
    pem.fill(0);
  }
}
