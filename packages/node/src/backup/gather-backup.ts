import { resolve } from "node:path";
import {
  AUDIT_ROOT,
  auxiliaryExecutionKey,
  CairnError,
  encodeCanonical,
  type KeyRow,
  keyStateKey,
  type Manifest,
  type NodeIndex,
  type NodeStore,
  partiesOf,
  type UnixMs,
  VERIFIED_BACKUPS_KEY,
} from "@cairn/core";
import type { BackupParts, SealedItem } from "@cairn/engine";
import type { LoadedConfig } from "../load-config.ts";
import { readPublicFile, readSecretFile } from "../read-configured-file.ts";
import { softwareVersion } from "../software-version.ts";
import { type BackupDocument, backupDocumentSchema } from "./backup-document.ts";
import { backedUpFiles } from "./backup-files.ts";

/** A key whose share a backup can hold. */
type HeldKey = KeyRow & {
  readonly status: "active" | "rotating" | "retired";
  readonly publicPackage: Uint8Array;
  readonly sealedShare: Uint8Array;
};

export interface GatherModules {
  readonly loaded: LoadedConfig;
  readonly store: NodeStore;
  readonly me: NodeIndex;
  readonly manifest: Manifest;
  readonly epoch: number;
}

const MAX_CHANGES = 1_000_000;
/** Keys change when one is made or shared anew: seldom, and never twice within a look. */
const MAX_LOOKS = 10;

/** What a backup is made of, but for its lock. Secrets of files are in buffers that the caller wipes with {@link wipe}. */
export type Gathered = Omit<BackupParts, "lock"> & { readonly facts: BackupDocument };

/**
 * Reads what a backup of this node holds, while it runs or not. Every row is read whole; keys and what belongs to them are read again until nothing has
 * changed in between.
 * @throws CairnError those of the store and of the files; `busy` where keys keep changing
 */
export async function gatherBackup(modules: GatherModules, now: UnixMs): Promise<Gathered> {
  const { store, manifest, me, epoch, loaded } = modules;
  const member = manifest.members.find(({ index }) => index === me);
  if (member === undefined) throw new CairnError("not-member", "this node is no member of its manifest", {});
  const parties = partiesOf(manifest);
  const { keys, meta, wallets } = await steady(store);
  const sealedAux = await store.auxiliary(parties);
  const execution = await store.meta(auxiliaryExecutionKey(parties));
  const words = await store.meta(VERIFIED_BACKUPS_KEY);
  const head = await store.auditHead();
  const checkpoint = await store.checkpointHead();
  const changes = await store.changes({ states: ["in-force"], limit: MAX_CHANGES });
  const facts = backupDocumentSchema.parse({
    version: 1,
    cluster: manifest.cluster,
    node: me,
    identity: member.identity,
    createdAt: now,
    software: softwareVersion,
    fence: {
      epoch,
      burnCounter: await store.burnCounter(),
      auditLength: head === null ? 0 : head.seq + 1,
    },
    auditHead: head?.hash ?? AUDIT_ROOT,
    checkpoint: checkpoint?.body ?? null,
    settings: JSON.stringify({ ...loaded.config, api: { ...loaded.config.api, tokens: [] } }),
    changes: changes.map(({ state, ...row }) => row),
    manifests: (await store.manifests()).map(({ sequence, hash, body }) => ({ sequence, hash, body })),
    keys: keys.map(({ sealedShare, reason, ...row }) => row),
    wallets: wallets.map(({ wallet, keyId, label, record, createdAt }) => ({
      wallet,
      keyId,
      label,
      record,
      createdAt,
    })),
    auxiliary: sealedAux === null ? null : parties,
    meta: [
      ...meta,
      ...(execution === null || sealedAux === null
        ? []
        : [{ key: auxiliaryExecutionKey(parties), value: execution }]),
      ...(words === null ? [] : [{ key: VERIFIED_BACKUPS_KEY, value: words }]),
    ],
  });
  const items: SealedItem[] = keys.map(({ keyId, protocol, epoch: keyEpoch, sealedShare }) => ({
    kind: protocol === "frost" ? "frost-share" : "cggmp24-share",
    id: keyId as string as SealedItem["id"],
    epoch: keyEpoch,
    sealed: sealedShare,
  }));
  if (sealedAux !== null) items.push({ kind: "cggmp24-aux", id: parties, epoch: 0, sealed: sealedAux });
  return { facts, document: encodeCanonical(facts), files: await readFiles(loaded), items };
}

/** Overwrites what was read of key files. */
export function wipe(files: Gathered["files"]): void {
  for (const { content } of files) content.fill(0);
}

async function steady(store: NodeStore) {
  for (let look = 0; look < MAX_LOOKS; look += 1) {
    const wallets = await store.wallets();
    const keys = (await store.keys()).filter(isHeld);
    const meta: { key: string; value: Uint8Array }[] = [];
    for (const { keyId } of keys) {
      const key = keyStateKey(keyId);
      const value = await store.meta(key);
      if (value !== null) meta.push({ key, value });
    }
    const again = (await store.keys()).filter(isHeld);
    const same =
      again.length === keys.length && again.every((row, at) => row.updatedAt === keys[at]?.updatedAt);
    const held = new Set(keys.map(({ keyId }) => keyId));
    if (same) return { keys, meta, wallets: wallets.filter(({ keyId }) => held.has(keyId)) };
  }
  throw new CairnError("busy", "this node's keys are changing: make the backup once that is over");
}

function isHeld(row: KeyRow): row is HeldKey {
  return (
    (row.status === "active" || row.status === "rotating" || row.status === "retired") &&
    row.publicPackage !== null &&
    row.sealedShare !== null
  );
}

async function readFiles({ config, folder }: LoadedConfig): Promise<Gathered["files"]> {
  const files: { name: string; content: Uint8Array }[] = [];
  for (const { name, secret, of } of backedUpFiles) {
    const path = of(config);
    if (path === null) continue;
    const at = resolve(folder, path);
    files.push({ name, content: await (secret ? readSecretFile(at) : readPublicFile(at)) });
  }
  return files;
}
