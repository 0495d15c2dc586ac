import {
  CairnError,
  type ChangeRow,
  decodeCanonical,
  Ed25519Signer,
  isCairnError,
  keygenRequestHash,
  type Manifest,
  memberOf,
  type NodeConfig,
  nodeConfigSchema,
  publicPackageHash,
  SealingKey,
  type SignedManifest,
  sha256Hex,
  signedKeygenRequestSchema,
  signedManifestSchema,
  signedWalletRecordSchema,
  verifyGenesis,
  verifySigned,
  verifyWalletRecord,
} from "@cairn/core";
import type { OpenedBackup } from "@cairn/engine";
import { certificateFingerprint, certificateFromPem } from "@cairn/pki";
import { policyHash, policySchema } from "@cairn/policy";
import { ManifestBook } from "@cairn/runtime";
import { type BackupDocument, backupDocumentSchema } from "./backup-document.ts";
import { backedUpFiles } from "./backup-files.ts";

/** A backup that was found whole. */
export interface CheckedBackup {
  readonly document: BackupDocument;
  readonly settings: NodeConfig;
  readonly genesis: SignedManifest;
  /** In force when the backup was made. */
  readonly manifest: Manifest;
  readonly changes: readonly ChangeRow[];
}

/** What may be asked of a backup before anything in it is believed. */
export interface BackupExpectation {
  readonly cluster?: string | undefined;
  readonly node?: number | undefined;
}

/**
 * Checks everything in an opened backup that can be checked without the node: hashes and signatures of manifest, changes, keys and wallets; that the
 * files are this member's; that every share is there, whole, and the one that its public package names; that every wallet has its key.
 * @throws CairnError `wrong-cluster`, `wrong-recipient` for another cluster's or node's than expected; `backup-incomplete` with what is wrong
 */
export async function checkBackup(
  backup: OpenedBackup,
  expected: BackupExpectation = {},
): Promise<CheckedBackup> {
  refuseOther(backup, expected);
  try {
    return await check(backup);
  } catch (cause) {
    if (!isCairnError(cause) || cause.code === "backup-incomplete") throw cause;
    throw incomplete(cause.message, { reason: cause.code, ...cause.data }, cause);
  }
}

function refuseOther({ cluster, node }: OpenedBackup, expected: BackupExpectation): void {
  if (expected.cluster !== undefined && expected.cluster !== cluster) {
    throw new CairnError(
      "wrong-cluster",
      `the backup is of cluster ${cluster}, and not of the one that was asked for: take the right file`,
      { found: cluster, expected: expected.cluster },
    );
  }
  if (expected.node !== undefined && expected.node !== node) {
    throw new CairnError(
      "wrong-recipient",
      `the backup is of node ${node}, and not of node ${expected.node}: take the right file`,
      { found: node, expected: expected.node },
    );
  }
}

async function check(backup: OpenedBackup): Promise<CheckedBackup> {
  const document = decodeCanonical(backupDocumentSchema, backup.document());
  const { node } = document;
  if (document.cluster !== backup.cluster || node !== backup.node)
    throw incomplete("its document is of another node than its shares");
  const settings = nodeConfigSchema.parse(JSON.parse(document.settings));
  const missing = backedUpFiles.filter(({ name, of }) => of(settings) !== null && backup.file(name) === null);
  if (missing.length > 0) throw incomplete(`it lacks ${missing.map(({ name }) => name).join(", ")}`);

  const genesis = decodeCanonical(signedManifestSchema, fileOf(backup, "manifest.cbor"));
  verifyGenesis(genesis);
  if (genesis.manifest.cluster !== document.cluster) throw incomplete("its manifest is of another cluster");
  const policy = decodeCanonical(policySchema, fileOf(backup, "policy.cbor"));
  if (policyHash(policy) !== genesis.manifest.policy)
    throw incomplete("its policy is not the one that its manifest pins");
  const changes: ChangeRow[] = document.changes.map((row) => ({ ...row, state: "in-force" }));
  const { manifest } = await ManifestBook.open(
    { manifest: genesis.manifest, policy },
    { changes: async () => changes },
  );
  checkMember(backup, document, manifest);
  await checkKeys(backup, document, manifest);
  return { document, settings, genesis, manifest, changes };
}

function checkMember(backup: OpenedBackup, document: BackupDocument, manifest: Manifest): void {
  const member = memberOf(manifest, document.node);
  const identity = keyOf(backup, "identity.pem", (pem) => Ed25519Signer.fromPem(pem).publicKey);
  const sealing = keyOf(backup, "sealing.pem", (pem) => SealingKey.fromPem(pem).publicKey);
  if (identity !== member.identity || sealing !== member.sealing || document.identity !== member.identity)
    throw incomplete("its keys are not those that the manifest has for this node");
  const authority = certificateFromPem(fileOf(backup, "ca.pem"));
  if (certificateFingerprint(authority) !== manifest.caFingerprint)
    throw incomplete("its authority is not the one that the manifest pins");
}

async function checkKeys(
  backup: OpenedBackup,
  { keys, wallets, auxiliary, meta }: BackupDocument,
  manifest: Manifest,
): Promise<void> {
  for (const { keyId, request, publicPackage, protocol } of keys) {
    const signed = decodeCanonical(signedKeygenRequestSchema, request);
    const { body } = signed;
    if (keygenRequestHash(body) !== keyId || body.protocol !== protocol)
      throw incomplete("a key is not the one that its request asked for", { keyId });
    if (!verifySigned("cairn/keygen-request/v1", signed, body.operator))
      throw incomplete("a key's request is not signed", { keyId });
    if (!meta.some(({ key }) => key === `keygen/${keyId}`))
      throw incomplete("a key's state is missing", { keyId });
    await backup.checkShare(publicPackage);
  }
  for (const { record, wallet, keyId } of wallets) {
    const signed = decodeCanonical(signedWalletRecordSchema, record);
    const key = keys.find((row) => row.keyId === keyId);
    const belongs =
      signed.record.wallet === wallet &&
      signed.record.keyId === keyId &&
      verifyWalletRecord(signed, manifest) &&
      key !== undefined &&
      publicPackageHash(key.publicPackage) === signed.record.publicPackage;
    if (!belongs)
      throw incomplete("a wallet's record does not fit its key, or its nodes did not sign it", { wallet });
  }
  if (auxiliary !== null) await backup.checkAuxiliary(manifest.members.map(({ index }) => index));
}

/** The hash by which a backup's file is named. */
export function backupId(file: Uint8Array): string {
  return sha256Hex(file);
}

function fileOf(backup: OpenedBackup, name: string): Uint8Array {
  const content = backup.file(name);
  if (content !== null) return content;
  throw incomplete(`it lacks ${name}`);
}

function keyOf(backup: OpenedBackup, name: string, publicKey: (pem: Uint8Array) => string): string {
  const pem = fileOf(backup, name);
  try {
    return publicKey(pem);
  } finally {
    pem.fill(0);
  }
}

function incomplete(
  why: string,
  data: ConstructorParameters<typeof CairnError>[2] = {},
  cause?: unknown,
): CairnError {
  return new CairnError(
    "backup-incomplete",
    `the backup opens, but cannot be relied on: ${why}; make it anew`,
    data,
    { cause },
  );
}
