import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { roles } from "@cairn/client";
import {
  amnesiaWrite,
  CairnError,
  type Clock,
  Ed25519Signer,
  type HashHex,
  isCairnError,
  type KeyRow,
  type NodeConfig,
  type NodeStore,
  nodeConfigSchema,
  type StoreWrite,
} from "@cairn/core";
import type { BackupOpener, OpenEngineOptions, OpenedBackup, OpenedEngine, SealedItem } from "@cairn/engine";
import { makePrivateFolder, replacePublicFile, writeKeyFile } from "@cairn/pki";
import { AuditLog } from "@cairn/storage";
import { stringify } from "smol-toml";
import { openStore } from "../open-store.ts";
import { tokenHash } from "../token-book.ts";
import { backedUpFiles } from "./backup-files.ts";
import type { CheckedBackup } from "./check-backup.ts";

export interface RestoreOptions {
  /** Folder to make; it must not exist, or be empty. */
  readonly into: string;
  /** SHA-256 of the backup's file, for the log. */
  readonly backup: HashHex;
  /** The epoch is raised to this at least. */
  readonly epoch?: number | undefined;
  /** In place of the backup's: `host:port`, `host:port`, Esplora endpoints. */
  readonly peerListen?: string | undefined;
  readonly apiListen?: string | undefined;
  readonly chain?: readonly string[] | undefined;
  /** Default `sqlite:cairn.db`. */
  readonly storage?: { readonly url: string; readonly passwordFile: string | null } | undefined;
}

export interface RestoreModules {
  readonly opener: Pick<BackupOpener, "createKeyFile">;
  readonly openEngine: (options: OpenEngineOptions) => Promise<OpenedEngine>;
  readonly clock: Clock;
}

/** A restored node's folder. */
export interface Restored {
  readonly folder: string;
  readonly config: string;
  readonly epoch: number;
  readonly keys: number;
  readonly wallets: number;
}

const VAULT_KEY = "vault.key";

/**
 * Makes a node's folder from a checked backup: its files, a new key-encryption key, new tokens, an epoch above the backup's, and a database with the mark
 * that says it was restored. The folder appears whole or not at all.
 * @throws CairnError `file-exists` unless the folder is absent or empty; `config-invalid`, `wrong-state` for a database that is not empty; those of
 *   store and engine; `storage-full`, `storage-failed`
 */
export async function restoreBackup(
  backup: OpenedBackup,
  checked: CheckedBackup,
  options: RestoreOptions,
  modules: RestoreModules,
): Promise<Restored> {
  const folder = resolve(options.into);
  await refuseFull(folder);
  const epoch = Math.max(checked.document.fence.epoch + 1, options.epoch ?? 0);
  const tokens = roles.map((role) => ({ role, text: randomBytes(32).toString("base64url") }));
  const config = nodeConfigSchema.parse(
    settingsOf(
      checked.settings,
      options,
      tokens.map(({ role, text }) => ({ name: role, role, hash: tokenHash(text) })),
    ),
  );
  let draft: string | null = null;
  try {
    await mkdir(dirname(folder), { recursive: true });
    draft = await mkdtemp(join(dirname(folder), `.${basename(folder)}-`));
    await writeFiles(backup, draft, epoch, tokens);
    modules.opener.createKeyFile(join(draft, VAULT_KEY));
    const items = await reseal(backup, draft, checked, modules);
    await writeKeyFile(join(draft, "cairn.toml"), Buffer.from(stringify(withoutNulls(config)), "utf8"));
    await fillStore({ config, folder: draft }, backup, checked, items, { ...options, epoch }, modules);
    await rename(draft, folder);
  } catch (cause) {
    if (draft !== null) await rm(draft, { recursive: true, force: true });
    throw failure(cause, folder);
  }
  return {
    folder,
    config: join(folder, "cairn.toml"),
    epoch,
    keys: checked.document.keys.length,
    wallets: checked.document.wallets.length,
  };
}

async function refuseFull(folder: string): Promise<void> {
  const entries = await readdir(folder).catch((cause: unknown) => {
    if (codeOf(cause) === "ENOENT") return [];
    throw failure(cause, folder);
  });
  if (entries.length > 0) throw taken(folder);
}

/** The backup's configuration with the names that a restored folder has. */
function settingsOf(
  settings: NodeConfig,
  { peerListen, apiListen, chain, storage }: RestoreOptions,
  tokens: NodeConfig["api"]["tokens"],
): NodeConfig {
  const named = (section: "files" | "api" | "coordination"): Record<string, string> =>
    Object.fromEntries(
      backedUpFiles
        .filter((file) => file.section === section && file.of(settings) !== null)
        .map(({ key, name }) => [key, name]),
    );
  return {
    ...settings,
    node: { ...settings.node, data_dir: "data" },
    files: { ...settings.files, ...named("files"), epoch: "epoch" },
    vault: { kind: "file", path: VAULT_KEY },
    api: { ...settings.api, ...named("api"), tokens, listen: apiListen ?? settings.api.listen },
    transport: { ...settings.transport, p2p_listen: peerListen ?? settings.transport.p2p_listen },
    storage:
      storage === undefined
        ? { url: "sqlite:cairn.db", password_file: null }
        : {
            url: storage.url,
            password_file: storage.passwordFile === null ? null : resolve(storage.passwordFile),
          },
    coordination: { ...settings.coordination, ...named("coordination") },
    chain: { ...settings.chain, endpoints: chain === undefined ? settings.chain.endpoints : [...chain] },
  };
}

async function writeFiles(
  backup: OpenedBackup,
  draft: string,
  epoch: number,
  tokens: readonly { readonly role: string; readonly text: string }[],
): Promise<void> {
  await makePrivateFolder(join(draft, "data"));
  await makePrivateFolder(join(draft, "tokens"));
  for (const { name } of backedUpFiles) {
    const content = backup.file(name);
    if (content === null) continue;
    await writeKeyFile(join(draft, name), content);
    content.fill(0);
  }
  await replacePublicFile(join(draft, "epoch"), Buffer.from(`${epoch}\n`, "utf8"));
  for (const { role, text } of tokens)
    await writeKeyFile(join(draft, "tokens", role), Buffer.from(`${text}\n`, "utf8"));
}

async function reseal(
  backup: OpenedBackup,
  draft: string,
  { document }: CheckedBackup,
  { openEngine }: RestoreModules,
): Promise<readonly SealedItem[]> {
  const { engine, backups } = await openEngine({
    clusterId: document.cluster,
    me: document.node,
    dataDir: join(draft, "data"),
    keySource: { kind: "file", path: join(draft, VAULT_KEY) },
    primes: { target: 0 },
  });
  try {
    return backups.reseal(backup);
  } finally {
    await engine.close();
  }
}

async function fillStore(
  loaded: { readonly config: NodeConfig; readonly folder: string },
  backup: OpenedBackup,
  checked: CheckedBackup,
  items: readonly SealedItem[],
  { backup: id, epoch }: RestoreOptions & { readonly epoch: number },
  { clock }: RestoreModules,
): Promise<void> {
  const { cluster, node } = checked.document;
  const store = await openStore(loaded, { cluster, node }, { clock });
  try {
    await refuseUsed(store);
    const signer = signerOf(backup);
    const audit = await AuditLog.create({ cluster, node }, { store, signer, clock });
    const now = clock.now();
    const entries = audit.entries([
      {
        kind: "restored",
        subject: id,
        data: {
          epoch,
          backupMadeAt: checked.document.createdAt,
          formerEpoch: checked.document.fence.epoch,
          formerBurnCounter: checked.document.fence.burnCounter,
          formerAuditLength: checked.document.fence.auditLength,
          formerAuditHead: checked.document.auditHead,
        },
      },
    ]);
    await store.commit([...rowsOf(checked, items), amnesiaWrite(now), ...entries]);
    audit.committed();
  } finally {
    await store.close();
  }
}

/** @throws CairnError `wrong-state` for a database that a node has used */
async function refuseUsed(store: NodeStore): Promise<void> {
  if ((await store.manifests()).length === 0 && (await store.auditHead()) === null) return;
  throw new CairnError(
    "wrong-state",
    "the database is not empty: a node is restored into a new one; name an empty one with --storage",
  );
}

function* rowsOf({ document, changes }: CheckedBackup, items: readonly SealedItem[]): Generator<StoreWrite> {
  for (const row of document.manifests) yield { write: "manifest", row };
  for (const row of changes) yield { write: "change", row };
  for (const key of document.keys) {
    const share = items.find((item) => item.kind !== "cggmp24-aux" && isOf(item, key));
    if (share === undefined) throw new CairnError("internal", "a checked backup lacks a share", {});
    const row: KeyRow = { ...key, sealedShare: share.sealed, reason: null };
    yield { write: "key", row };
  }
  for (const row of document.wallets) yield { write: "wallet", row };
  const aux = items.find(({ kind }) => kind === "cggmp24-aux");
  if (document.auxiliary !== null && aux !== undefined)
    yield { write: "auxiliary", parties: document.auxiliary, sealed: aux.sealed };
  for (const { key, value } of document.meta) yield { write: "meta", key, value };
}

function isOf(item: SealedItem, key: { readonly keyId: string; readonly epoch: number }): boolean {
  return String(item.id) === key.keyId && item.epoch === key.epoch;
}

function signerOf(backup: OpenedBackup): Ed25519Signer {
  const pem = backup.file("identity.pem");
  if (pem === null) throw new CairnError("internal", "a checked backup lacks its identity", {});
  try {
    return Ed25519Signer.fromPem(pem);
  } finally {
    pem.fill(0);
  }
}

/** TOML has no null: what is left out has its default, which is null. */
function withoutNulls(config: NodeConfig): Record<string, Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(config).map(([section, keys]) => [
      section,
      Object.fromEntries(Object.entries(keys).filter(([, value]) => value !== null)),
    ]),
  );
}

function codeOf(cause: unknown): string | undefined {
  return cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : undefined;
}

function taken(folder: string, cause?: unknown): CairnError {
  return new CairnError(
    "file-exists",
    `${folder} is not empty: a node is restored into a new folder; choose another, or move this one away`,
    { path: folder },
    { cause },
  );
}

function failure(cause: unknown, folder: string): unknown {
  if (isCairnError(cause)) return cause;
  const code = codeOf(cause);
  if (code === undefined) return cause;
  if (code === "ENOTEMPTY" || code === "EEXIST" || code === "ENOTDIR") return taken(folder, cause);
  return new CairnError(
    code === "ENOSPC" || code === "EDQUOT" ? "storage-full" : "storage-failed",
    `${folder} cannot be written (${code}): free some room or choose another place; nothing was left behind`,
    { path: folder, reason: code },
    { cause },
  );
}
