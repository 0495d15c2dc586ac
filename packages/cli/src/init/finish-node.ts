import { access, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { roles } from "@cairn/client";
import {
  CairnError,
  decodeCanonical,
  Ed25519Signer,
  encodeCanonical,
  type Manifest,
  manifestHash,
  policyHash,
  policySchema,
  SealingKey,
  type SignedManifest,
  signedManifestSchema,
  verifyGenesis,
} from "@cairn/core";
import {
  certificateFingerprint,
  certificateFromPem,
  makePrivateFolder,
  readKeyFile,
  replacePublicFile,
  verifyNodeCertificate,
  writeKeyFile,
} from "@cairn/pki";
import { writeCliConfig } from "../cli-config.ts";
import { fileFailure } from "../file-failure.ts";
import { createToken } from "./create-token.ts";
import { type ManifestSignature, signaturesFor } from "./manifest-signature.ts";
import { mergeSettings, type NodeSettings, nodeConfigText } from "./node-settings.ts";

export interface FinishNodeOptions {
  /** The folder that `init node` made. */
  readonly dir: string;
  /** The `public` folder that `init manifest` made, or a copy. */
  readonly bundle: string;
  readonly signatures: readonly ManifestSignature[];
  /** `host:port` where the node listens for peers. */
  readonly peerListen: string;
  /** `host:port` where its REST API listens. */
  readonly apiListen: string;
  readonly chain: readonly string[];
  /** Further sections of `cairn.toml`. */
  readonly settings?: NodeSettings;
  /** Milliseconds since the Unix epoch, for the certificate. */
  readonly now: number;
}

export interface FinishedNode {
  readonly index: number;
  readonly signedManifest: SignedManifest;
  /** Absolute paths. */
  readonly config: string;
  readonly cliConfig: string;
}

/**
 * Completes a node's folder once all operators have signed: checks everything that came from others against the node's own keys,
 * and writes what the daemon starts from, with a token for each role in `tokens/` and a configuration for the `cairn` command.
 * @throws CairnError `signature-invalid` while operators' signatures are missing; `not-member` when the manifest lacks this node;
 *   `wrong-policy`, `certificate-refused`, `file-exists`, `file-missing`, `storage-full`, `storage-failed`
 */
export async function finishNode(options: FinishNodeOptions): Promise<FinishedNode> {
  const dir = resolve(options.dir);
  const bundle = resolve(options.bundle);
  const own = (name: string) => join(dir, name);
  const identity = Ed25519Signer.fromPem(await readKeyFile(own("identity.pem")));
  const sealing = SealingKey.fromPem(await readKeyFile(own("sealing.pem")));

  const { manifest } = decodeCanonical(signedManifestSchema, await read(join(bundle, "manifest.cbor")));
  const hash = manifestHash(manifest);
  const signedManifest = { manifest, signatures: signaturesFor(hash, options.signatures) };
  verifyGenesis(signedManifest);
  const index = ownIndex(manifest, identity, sealing);
  const policy = decodeCanonical(policySchema, await read(join(bundle, "policy.cbor")));
  if (policyHash(policy) !== manifest.policy) {
    throw new CairnError(
      "wrong-policy",
      "policy.cbor is not the policy that the manifest pins; ask for it again",
    );
  }
  const authorityPem = await read(join(bundle, "ca.pem"));
  const authority = certificateFromPem(authorityPem);
  if (certificateFingerprint(authority) !== manifest.caFingerprint) {
    throw new CairnError(
      "certificate-refused",
      "ca.pem is not the authority that the manifest pins; ask for it again",
    );
  }
  const certificatePem = await read(join(bundle, `node-${index}.pem`));
  verifyNodeCertificate(certificateFromPem(certificatePem), {
    manifest,
    authority,
    index,
    now: options.now,
    revocations: null,
  });

  const tokens = roles.map((role) => ({ role, token: createToken() }));
  const admin = tokens.find(({ role }) => role === "admin")?.token.text;
  const settings: NodeSettings = {
    node: { index },
    api: {
      listen: options.apiListen,
      tokens: tokens.map(({ role, token }) => ({ name: role, role, hash: token.hash })),
    },
    transport: { p2p_listen: options.peerListen },
    chain: { endpoints: [...options.chain] },
  };
  const config = own("cairn.toml");
  const cliConfig = own("config.toml");
  try {
    await refuseExisting(config);
    // Of an earlier try that failed: nothing knows them.
    await rm(own("tokens"), { recursive: true, force: true });
    await makePrivateFolder(own("tokens"));
    for (const { role, token } of tokens) {
      await writeKeyFile(join(own("tokens"), role), Buffer.from(`${token.text}\n`, "utf8"));
    }
    await replacePublicFile(own("manifest.cbor"), encodeCanonical(signedManifest));
    await replacePublicFile(own("policy.cbor"), encodeCanonical(policy));
    await replacePublicFile(own("ca.pem"), authorityPem);
    await replacePublicFile(own("certificate.pem"), certificatePem);
    await replacePublicFile(own("epoch"), Buffer.from("0\n", "utf8"));
    await writeCliConfig(
      cliConfig,
      {
        endpoints: [`http://${options.apiListen}`],
        token: admin,
        cluster: manifest.cluster,
        manifest: hash,
        operator_key: "operator.pem",
      },
      { replace: true },
    );
    // Last: a folder with a cairn.toml is complete.
    await writeKeyFile(
      config,
      Buffer.from(nodeConfigText(mergeSettings(settings, options.settings ?? {})), "utf8"),
    );
  } catch (cause) {
    throw fileFailure(cause, dir);
  }
  return { index, signedManifest, config, cliConfig };
}

function ownIndex(
  manifest: Manifest,
  identity: Ed25519Signer,
  sealing: SealingKey,
): Manifest["members"][number]["index"] {
  const member = manifest.members.find((entry) => entry.identity === identity.publicKey);
  if (member !== undefined && member.sealing === sealing.publicKey) return member.index;
  throw new CairnError(
    "not-member",
    "the manifest does not hold this node's keys; is this the folder whose member.json went into it?",
  );
}

async function read(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw fileFailure(cause, path);
  }
}

async function refuseExisting(path: string): Promise<void> {
  const found = await access(path).then(
    () => true,
    () => false,
  );
  if (found) throw new CairnError("file-exists", `${path} is there already: this node is finished`, { path });
}
