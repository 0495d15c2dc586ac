import type { CairnClient } from "@cairn/client";
import {
  CairnError,
  type Constitution,
  changeCommitSchema,
  decodeCanonical,
  type ManifestHash,
  manifestHash,
  operatorSignaturesOf,
  type Policy,
  policyHash,
  policySchema,
  type SignedManifest,
  signedManifestSchema,
  verifyChangeCommit,
} from "@cairn/core";
import type { CliConfig } from "./cli-config.ts";

/** A constitution that follows from the pinned manifest, with the operators' signatures under it. */
export interface TrustedConstitution extends Constitution {
  readonly signatures: SignedManifest["signatures"];
}

/**
 * What is in force: from the pinned manifest on, every change that a node tells of is verified here, so the node can keep changes
 * back but make none up.
 * @throws CairnError `peer-disagrees` when the node's history does not lead from the pinned manifest, or does not verify
 */
export async function trustedHistory(
  client: Pick<CairnClient, "call">,
  config: Pick<CliConfig, "manifest" | "cluster">,
): Promise<TrustedConstitution> {
  const view = await client.call("getHistory", {});
  try {
    const genesis = decodeCanonical(signedManifestSchema, Buffer.from(view.genesis, "base64"));
    const commits = view.commits.map((text) =>
      decodeCanonical(changeCommitSchema, Buffer.from(text, "base64")),
    );
    const policies = [decodeCanonical(policySchema, Buffer.from(view.policy, "base64"))];
    let current: TrustedConstitution | null = pinned(genesis, policies, config.manifest);
    for (const commit of commits) {
      const { change } = commit.proposal.body;
      if (change.type !== "manifest") throw new CairnError("malformed", "a change of no manifest");
      if (change.policy !== null) policies.push(change.policy);
      if (current === null) {
        current = pinned({ manifest: change.manifest, signatures: [] }, policies, config.manifest);
        continue;
      }
      verifyChangeCommit(commit, current);
      current = {
        manifest: change.manifest,
        manifestHash: manifestHash(change.manifest),
        policy: change.policy ?? current.policy,
        signatures: operatorSignaturesOf(commit, current),
      };
    }
    if (current !== null && current.manifest.cluster === config.cluster) return current;
  } catch (cause) {
    if (!(cause instanceof CairnError)) throw cause;
    throw new CairnError(
      "peer-disagrees",
      `the node's history of the manifest does not verify (${cause.message}); ask another node with --endpoint URL and tell the operators`,
      {},
      { cause },
    );
  }
  throw new CairnError(
    "peer-disagrees",
    "the node's history does not lead from the pinned manifest; ask another node with --endpoint URL, and compare fingerprints with the other operators",
    { pinned: config.manifest },
  );
}

/** The link with the pinned hash: what comes before it need not be believed, since the hash proves its documents. */
function pinned(
  { manifest, signatures }: SignedManifest,
  policies: readonly Policy[],
  hash: ManifestHash,
): TrustedConstitution | null {
  const policy = policies.find((document) => policyHash(document) === manifest.policy);
  if (manifestHash(manifest) !== hash || policy === undefined) return null;
  return { manifest, manifestHash: hash, policy, signatures };
}
