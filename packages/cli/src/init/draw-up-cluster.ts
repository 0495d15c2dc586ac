import { join } from "node:path";
import {
  type Clock,
  type Ed25519PublicKey,
  Ed25519Signer,
  encodeCanonical,
  firstPolicy,
  type Manifest,
  nodeIndexSchema,
  nonceSchema,
  type PolicyLimits,
  parseShape,
  type Random,
  toHex,
} from "@cairn/core";
import {
  authorityToPem,
  certificateToPem,
  createAuthority,
  issueNodeCertificate,
  makePrivateFolder,
  replacePublicFile,
  writeKeyFile,
} from "@cairn/pki";
import { type GenesisFacts, genesisManifest } from "./genesis-manifest.ts";
import type { MemberEntry } from "./member-entry.ts";
import { writeFolder } from "./write-folder.ts";

export interface DrawUpOptions
  extends Pick<GenesisFacts, "network" | "threshold" | "modes" | "unsignedRequests" | "checkpointAnchors"> {
  /** Folder to make; it must not exist, or be empty. */
  readonly dir: string;
  /** The operators' entries; the first becomes node 1. */
  readonly entries: readonly MemberEntry[];
  /** Keys that may ask for spends; a new one is made in the folder where none is given. */
  readonly requesters: readonly Ed25519PublicKey[];
  readonly policy: PolicyLimits;
}

/**
 * Draws up a cluster of many machines from its operators' entries: CA, certificates, policy and the manifest for all to sign.
 *
 * ```text
 * <dir>/public/manifest.cbor  policy.cbor  ca.pem  node-<i>.pem     hand these to every operator
 *       ca/ca-key.pem         requester.pem (where none was given)  keep these
 * ```
 *
 * @throws CairnError `file-exists`, `malformed`, `storage-full`, `storage-failed`
 */
export async function drawUpCluster(
  options: DrawUpOptions,
  modules: { readonly clock: Pick<Clock, "now">; readonly random: Random },
): Promise<Manifest> {
  const now = modules.clock.now();
  const policy = firstPolicy(options.policy);
  const authority = createAuthority({ now }, modules);
  const requester = options.requesters.length === 0 ? Ed25519Signer.generate() : null;
  const manifest = genesisManifest({
    network: options.network,
    threshold: options.threshold,
    modes: options.modes,
    unsignedRequests: options.unsignedRequests,
    checkpointAnchors: options.checkpointAnchors,
    members: options.entries.map((entry, position) => ({
      ...entry,
      index: parseShape(nodeIndexSchema, position + 1),
    })),
    requesters: requester === null ? options.requesters : [requester.publicKey],
    policy,
    caFingerprint: authority.fingerprint,
    nonce: parseShape(nonceSchema, toHex(modules.random.bytes(32))),
    createdAt: now,
  });
  const pem = authorityToPem(authority);
  await writeFolder(options.dir, async (draft) => {
    const open = join(draft, "public");
    await makePrivateFolder(open);
    await makePrivateFolder(join(draft, "ca"));
    await writeKeyFile(join(draft, "ca", "ca-key.pem"), pem.key);
    if (requester !== null) await writeKeyFile(join(draft, "requester.pem"), requester.toPem());
    await replacePublicFile(join(open, "manifest.cbor"), encodeCanonical({ manifest, signatures: [] }));
    await replacePublicFile(join(open, "policy.cbor"), encodeCanonical(policy));
    await replacePublicFile(join(open, "ca.pem"), pem.certificate);
    for (const { index, identity } of manifest.members) {
      const certificate = issueNodeCertificate(
        authority,
        { cluster: manifest.cluster, index, identity },
        { now },
        modules,
      );
      await replacePublicFile(join(open, `node-${index}.pem`), certificateToPem(certificate));
    }
  });
  return manifest;
}
