import type { CairnClient } from "@cairn/client";
import {
  CairnError,
  decodeCanonical,
  isCairnError,
  type Manifest,
  type ManifestHash,
  manifestFingerprint,
  manifestHash,
  type SignedManifest,
  signedManifestSchema,
} from "@cairn/core";
import type { CliConfig } from "./cli-config.ts";
import { trustedHistory } from "./trusted-history.ts";

/**
 * The manifest that a node serves, once its hash is the pinned one or operators' decisions lead there from the pinned one: from then on
 * it is the cluster's own word, whoever brought it.
 * @throws CairnError `peer-disagrees` when it is another one or no manifest at all
 */
export async function trustedManifest(
  client: Pick<CairnClient, "call">,
  config: Pick<CliConfig, "manifest" | "cluster">,
): Promise<SignedManifest> {
  const view = await client.call("getManifest", {});
  let signed: SignedManifest;
  try {
    signed = decodeCanonical(signedManifestSchema, Buffer.from(view.signedManifest, "base64"));
  } catch (cause) {
    throw new CairnError(
      "peer-disagrees",
      "what the node serves as the manifest is none; ask another node with --endpoint URL",
      {},
      { cause },
    );
  }
  const hash = manifestHash(signed.manifest);
  if (hash === config.manifest && signed.manifest.cluster === config.cluster) return signed;
  const history = await trustedHistory(client, config).catch((error: unknown) => {
    if (!isCairnError(error, "peer-disagrees")) throw error;
    return null;
  });
  if (history?.manifestHash === hash) return { manifest: history.manifest, signatures: history.signatures };
  throw otherManifest(hash, config.manifest, signed.manifest);
}

function otherManifest(hash: ManifestHash, pinned: ManifestHash, manifest: Manifest): CairnError {
  return new CairnError(
    "peer-disagrees",
    `the node serves another manifest (${manifestFingerprint(hash)}, number ${manifest.sequence}) than the one that is pinned (${manifestFingerprint(pinned)}), ` +
      "and no decisions of the operators lead there. Compare fingerprints with the operators, and only then pin the new one with `cairn config pin HASH`",
    { hash, pinned, sequence: manifest.sequence },
  );
}
