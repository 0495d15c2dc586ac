import { readFile } from "node:fs/promises";
import {
  CairnError,
  decodeCanonical,
  type Manifest,
  manifestSchema,
  parseShape,
  signedManifestSchema,
} from "@cairn/core";
import { z } from "zod";
import { fileFailure } from "./file-failure.ts";

/** What a manifest's file is, for help texts. */
export const MANIFEST_FILE_HELP = "manifest.cbor of a node, or what `cairn cluster manifest --json` prints";

/** How JSON begins, and no canonical manifest. */
const JSON_BRACE = 0x7b;

/**
 * The manifest in a file. Nobody's signature on it is looked at: whoever names the file trusts it.
 * @throws CairnError `malformed`, `not-canonical`, `too-large`; those of {@link fileFailure}
 */
export async function readManifestFile(path: string): Promise<Manifest> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw fileFailure(cause, path);
  }
  if (bytes[0] !== JSON_BRACE) return decodeCanonical(signedManifestSchema, bytes).manifest;
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (cause) {
    throw new CairnError(
      "malformed",
      "the manifest's file is neither JSON nor a canonical manifest",
      {},
      { cause },
    );
  }
  return parseShape(z.object({ manifest: manifestSchema }), json).manifest;
}
