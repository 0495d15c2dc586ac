import { readFile, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import {
  CairnError,
  Ed25519Signer,
  encodeCanonical,
  errorCodes,
  hashHexSchema,
  isCairnError,
  nodeIndexSchema,
  parseShape,
  type SignedVerifiedBackup,
  signVerifiedBackup,
  systemClock,
  verifyVerifiedBackup,
} from "@cairn/core";
import type { AskedSecret, BackupOpener, OpenEngineOptions, OpenedBackup, OpenedEngine } from "@cairn/engine";
import { readKeyFile, writeKeyFile } from "@cairn/pki";
import { ManifestBook } from "@cairn/runtime";
import { keySourceOf } from "../key-source-of.ts";
import { loadConfig } from "../load-config.ts";
import { openStore } from "../open-store.ts";
import { readNodeFiles } from "../read-node-files.ts";
import { type BackupExpectation, backupId, type CheckedBackup, checkBackup } from "./check-backup.ts";
import { gatherBackup, wipe } from "./gather-backup.ts";
import { restoreBackup } from "./restore-backup.ts";

/** The engine of one level of security. */
export interface BackupProgram {
  readonly opener: () => Promise<BackupOpener>;
  readonly openEngine: (options: OpenEngineOptions) => Promise<OpenedEngine>;
}

/** No backup is longer. */
const MAX_FILE = 64 * 1024 * 1024;

type Facts = Readonly<Record<string, string | number | boolean | null | readonly unknown[]>>;

/**
 * `keygen|create|verify|restore` of backups as a program of its own: what a stopped node's folder, or a machine without a node, can do. Secrets
 * are asked for on the terminal, or read from files; never taken as arguments.
 */
export async function runBackup(words: readonly string[], program: BackupProgram): Promise<void> {
  process.umask(0o077);
  try {
    const { facts, json } = await run(words, program);
    if (json) process.stdout.write(`${JSON.stringify(facts)}\n`);
    else for (const line of lines(facts)) process.stdout.write(`${line}\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = errorCodes[isCairnError(error) ? error.code : "internal"].exit;
  }
}

function read(words: readonly string[]) {
  return parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      config: { type: "string" },
      out: { type: "string" },
      recipient: { type: "string", multiple: true },
      passphrase: { type: "boolean", default: false },
      "passphrase-file": { type: "string" },
      identity: { type: "string" },
      cluster: { type: "string" },
      node: { type: "string" },
      "operator-key": { type: "string" },
      into: { type: "string" },
      epoch: { type: "string" },
      "peer-listen": { type: "string" },
      "api-listen": { type: "string" },
      chain: { type: "string", multiple: true },
      storage: { type: "string" },
      "storage-password-file": { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
}

type Values = ReturnType<typeof read>["values"];

async function run(
  words: readonly string[],
  program: BackupProgram,
): Promise<{ readonly facts: Facts; readonly json: boolean }> {
  const { values, positionals } = read(words);
  const [command, file] = positionals;
  const facts = await (() => {
    switch (command) {
      case "keygen":
        return keygen(needed(values.out, "--out"), program);
      case "create":
        return create(values, program);
      case "verify":
        return verify(needed(file, "the backup's file"), values, program);
      case "restore":
        return restore(needed(file, "the backup's file"), values, program);
      default:
        throw new CairnError("malformed", "say keygen, create, verify or restore");
    }
  })();
  return { facts, json: values.json };
}

async function keygen(out: string, program: BackupProgram): Promise<Facts> {
  const recipient = (await program.opener()).createIdentity(resolve(out));
  return { identity: resolve(out), recipient };
}

/** Backs up a node that is stopped: its database is locked meanwhile. */
async function create(values: Values, program: BackupProgram): Promise<Facts> {
  const out = resolve(needed(values.out, "--out"));
  const loaded = await loadConfig({
    file: needed(values.config, "--config"),
    environment: process.env,
    flags: {},
  });
  const now = systemClock.now();
  const lock = lockOf(values, loaded.config.backup.recipients);
  const files = await readNodeFiles(loaded, now);
  const { me, manifest: genesis, epoch } = files;
  const store = await openStore(loaded, { cluster: genesis.cluster, node: me }, { clock: systemClock });
  try {
    const { manifest } = await ManifestBook.open(files, store);
    const { engine, backups } = await program.openEngine({
      clusterId: genesis.cluster,
      me,
      dataDir: resolve(loaded.folder, loaded.config.node.data_dir),
      keySource: keySourceOf(loaded.config.vault, files.vaultPath),
      primes: { target: 0 },
    });
    try {
      const gathered = await gatherBackup({ loaded, store, me, manifest, epoch }, now);
      try {
        const bytes = await backups.create({ ...gathered, lock });
        await writeKeyFile(out, bytes);
        return {
          file: out,
          backup: backupId(bytes),
          bytes: bytes.length,
          node: me,
          keys: gathered.facts.keys.map(({ keyId }) => keyId),
        };
      } finally {
        wipe(gathered.files);
      }
    } finally {
      await engine.close();
    }
  } finally {
    await store.close();
  }
}

function lockOf(
  { recipient = [], passphrase, "passphrase-file": passphraseFile }: Values,
  configured: readonly string[],
): { readonly recipients: readonly string[] } | { readonly passphrase: AskedSecret } {
  if (passphraseFile !== undefined) return { passphrase: { kind: "file", path: resolve(passphraseFile) } };
  if (passphrase) return { passphrase: { kind: "terminal", question: "Passphrase for the backup: " } };
  const recipients = recipient.length > 0 ? recipient : configured;
  if (recipients.length > 0) return { recipients };
  throw new CairnError(
    "malformed",
    "nobody could open the backup: name --recipient age1…, set backup.recipients, or say --passphrase",
  );
}

async function verify(file: string, values: Values, program: BackupProgram): Promise<Facts> {
  const bytes = await readBackup(file);
  return opened(bytes, values, program, async (_, checked) => {
    const facts = reportOf(checked, bytes);
    const key = values["operator-key"];
    if (key === undefined) return facts;
    const word = await wordOf(checked, bytes, key);
    const out = resolve(needed(values.out, "--out"));
    await writeKeyFile(out, encodeCanonical(word));
    return { ...facts, word: out };
  });
}

/** The operator's word, to be handed to the node. */
async function wordOf(
  { document, manifest }: CheckedBackup,
  bytes: Uint8Array,
  keyFile: string,
): Promise<SignedVerifiedBackup> {
  const pem = await readKeyFile(resolve(keyFile));
  let operator: Ed25519Signer;
  try {
    operator = Ed25519Signer.fromPem(pem);
  } finally {
    pem.fill(0);
  }
  const word = signVerifiedBackup(
    {
      version: 1,
      cluster: document.cluster,
      node: document.node,
      backup: hashHexSchema.parse(backupId(bytes)),
      keys: document.keys
        .map(({ keyId, epoch }) => ({ keyId, epoch }))
        .toSorted((a, b) => (a.keyId < b.keyId ? -1 : 1)),
      createdAt: document.createdAt,
      verifiedAt: systemClock.now(),
    },
    operator,
  );
  verifyVerifiedBackup(word, manifest);
  return word;
}

async function restore(file: string, values: Values, program: BackupProgram): Promise<Facts> {
  const into = needed(values.into, "--into");
  const bytes = await readBackup(file);
  return opened(bytes, values, program, async (backup, checked, opener) => {
    const epoch = values.epoch === undefined ? undefined : Number(values.epoch);
    if (epoch !== undefined && !(Number.isSafeInteger(epoch) && epoch >= 0 && epoch < 1_000_000_000))
      throw new CairnError("malformed", "--epoch is a whole number below 10^9");
    const restored = await restoreBackup(
      backup,
      checked,
      {
        into,
        backup: hashHexSchema.parse(backupId(bytes)),
        epoch,
        peerListen: values["peer-listen"],
        apiListen: values["api-listen"],
        chain: values.chain,
        storage:
          values.storage === undefined
            ? undefined
            : { url: values.storage, passwordFile: values["storage-password-file"] ?? null },
      },
      { opener, openEngine: program.openEngine, clock: systemClock },
    );
    return { ...reportOf(checked, bytes), ...restored };
  });
}

async function opened(
  bytes: Uint8Array,
  values: Values,
  program: BackupProgram,
  use: (backup: OpenedBackup, checked: CheckedBackup, opener: BackupOpener) => Promise<Facts>,
): Promise<Facts> {
  const expected: BackupExpectation = {
    cluster: values.cluster,
    node: values.node === undefined ? undefined : parseShape(nodeIndexSchema, Number(values.node)),
  };
  const opener = await program.opener();
  const backup = opener.open(bytes, secretOf(opener.wantsPassphrase(bytes), values));
  try {
    return await use(backup, await checkBackup(backup, expected), opener);
  } finally {
    backup.close();
  }
}

function secretOf(wantsPassphrase: boolean, values: Values): AskedSecret {
  const path = wantsPassphrase ? values["passphrase-file"] : values.identity;
  if (path !== undefined) return { kind: "file", path: resolve(path) };
  return {
    kind: "terminal",
    question: wantsPassphrase ? "Passphrase of the backup: " : "Identity (AGE-SECRET-KEY-1…): ",
  };
}

function reportOf({ document, manifest }: CheckedBackup, bytes: Uint8Array): Facts {
  return {
    backup: backupId(bytes),
    cluster: document.cluster,
    node: document.node,
    network: manifest.network,
    createdAt: new Date(document.createdAt).toISOString(),
    software: document.software,
    epochThen: document.fence.epoch,
    auditLength: document.fence.auditLength,
    auditHead: document.auditHead,
    keys: document.keys.map(
      ({ keyId, protocol, epoch, status }) => `${keyId} ${protocol} epoch ${epoch} ${status}`,
    ),
    wallets: document.wallets.map(({ label }) => label),
  };
}

async function readBackup(file: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(file);
    if (size > MAX_FILE) throw new CairnError("too-large", `${file} is too large for a backup`, { size });
    return await readFile(file);
  } catch (cause) {
    if (isCairnError(cause)) throw cause;
    throw new CairnError("file-missing", `${file} cannot be read; check the name`, { file }, { cause });
  }
}

function needed(value: string | undefined, name: string): string {
  if (value === undefined) throw new CairnError("malformed", `${name} is missing`);
  return value;
}

function* lines(facts: Facts): Generator<string> {
  for (const [name, value] of Object.entries(facts)) {
    if (!Array.isArray(value)) yield `${name.padEnd(12)} ${value}`;
    else for (const one of value) yield `${name.padEnd(12)} ${one}`;
  }
}
