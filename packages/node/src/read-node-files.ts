import { resolve } from "node:path";
import {
  CairnError,
  decodeCanonical,
  Ed25519Signer,
  isCairnError,
  type Manifest,
  memberOf,
  type NodeConfig,
  type NodeIndex,
  nodeIndexSchema,
  SealingKey,
  type SignedManifest,
  signedManifestSchema,
  verifyGenesis,
} from "@cairn/core";
import { certificateFromPem, verifyNodeCertificate } from "@cairn/pki";
import { type Policy, policyHash, policySchema } from "@cairn/policy";
import type { LoadedConfig } from "./load-config.ts";
import { readPublicFile, readSecretFile } from "./read-configured-file.ts";

/** What a node's folder holds beside its database, read and checked against each other. */
export interface NodeFiles {
  readonly me: NodeIndex;
  readonly signedManifest: SignedManifest;
  readonly manifest: Manifest;
  readonly policy: Policy;
  readonly signer: Ed25519Signer;
  readonly sealing: SealingKey;
  /** DER of this node's certificate and of the authority's. */
  readonly certificate: Uint8Array;
  readonly authority: Uint8Array;
  /** When the certificate ends, in milliseconds since the Unix epoch. */
  readonly certificateEnds: number;
  readonly epoch: number;
  /** Absolute path of the file that the key-encryption key comes from; Rust reads it. */
  readonly vaultPath: string;
  /** PEM for the REST API, or null for plain HTTP. */
  readonly tls: { readonly certificate: Uint8Array; readonly key: Uint8Array } | null;
}

type FileKey = keyof NodeConfig["files"];

/**
 * Reads a node's files.
 * @param now for the certificate's validity
 * @throws CairnError `file-missing`, `file-mode`, `config-invalid` (data: `file`) where files contradict each other or the
 *   configuration; `wrong-cluster`, `signature-invalid` for a manifest that its operators did not sign; `certificate-refused`,
 *   `certificate-expired`, `not-yet-valid`
 */
export async function readNodeFiles({ config, folder }: LoadedConfig, now: number): Promise<NodeFiles> {
  const me = nodeIndexSchema.parse(config.node.index);
  const at = (name: string) => resolve(folder, name);
  const path = (key: FileKey) => at(config.files[key]);

  const signedManifest = shaped(
    path("manifest"),
    signedManifestSchema,
    await readPublicFile(path("manifest")),
  );
  const { manifest } = signedManifest;
  if (manifest.sequence !== 0) {
    throw new CairnError(
      "config-invalid",
      "files.manifest must be the genesis manifest, which all operators signed; later ones are kept in the database",
      { file: path("manifest"), sequence: manifest.sequence },
    );
  }
  verifyGenesis(signedManifest);
  const policy = shaped(path("policy"), policySchema, await readPublicFile(path("policy")));
  if (policyHash(policy) !== manifest.policy || policy.policyVersion !== manifest.policyVersion) {
    throw new CairnError(
      "config-invalid",
      "files.policy is not the policy that the manifest pins; install the document that the operators agreed on",
      { file: path("policy"), version: policy.policyVersion, expected: manifest.policyVersion },
    );
  }

  const member = memberOf(manifest, me);
  const signer = Ed25519Signer.fromPem(await readSecretFile(path("identity")));
  if (signer.publicKey !== member.identity) throw notMine("identity", me, path("identity"));
  const sealing = SealingKey.fromPem(await readSecretFile(path("sealing")));
  if (sealing.publicKey !== member.sealing) throw notMine("sealing", me, path("sealing"));

  const certificate = certificateFromPem(await readPublicFile(path("certificate")));
  const authority = certificateFromPem(await readPublicFile(path("authority")));
  const { notAfter } = verifyNodeCertificate(certificate, {
    manifest,
    authority,
    index: me,
    now,
    revocations: null,
  });

  return {
    me,
    signedManifest,
    manifest,
    policy,
    signer,
    sealing,
    certificate,
    authority,
    certificateEnds: notAfter,
    epoch: readEpoch(await readPublicFile(path("epoch")), path("epoch")),
    vaultPath: at(config.vault.path),
    tls:
      config.api.tls_certificate === null || config.api.tls_key === null
        ? null
        : {
            certificate: await readPublicFile(at(config.api.tls_certificate)),
            key: await readSecretFile(at(config.api.tls_key)),
          },
  };
}

function shaped<Schema extends Parameters<typeof decodeCanonical>[0]>(
  file: string,
  schema: Schema,
  bytes: Uint8Array,
): ReturnType<typeof decodeCanonical<Schema>> {
  try {
    return decodeCanonical(schema, bytes);
  } catch (cause) {
    if (!isCairnError(cause)) throw cause;
    throw new CairnError("config-invalid", `${file}: ${cause.message}`, { ...cause.data, file }, { cause });
  }
}

function notMine(kind: "identity" | "sealing", me: NodeIndex, file: string): CairnError {
  return new CairnError(
    "config-invalid",
    `files.${kind} is not the key that the manifest has for node ${me}; is node.index right, and the key this node's?`,
    { file, node: me },
  );
}

/** The epoch: a whole number in decimal digits. */
function readEpoch(bytes: Uint8Array, file: string): number {
  const text = Buffer.from(bytes).toString("utf8").trim();
  if (/^(0|[1-9][0-9]{0,8})$/.test(text)) return Number(text);
  throw new CairnError(
    "config-invalid",
    `${file} must hold the node's epoch, one whole number; a new node begins at 0`,
    {
      file,
    },
  );
}
