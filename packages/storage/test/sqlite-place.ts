import { createPrivateKey } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clusterIdSchema, Ed25519Signer, type NodeStore, systemClock } from "@cairn/core";
import { openSqliteStore } from "../src/index.ts";
import { hash, node } from "./rows.ts";

export const owner = { cluster: clusterIdSchema.parse(hash("cluster")), node: node(1) };

export function openAt(path: string): Promise<NodeStore> {
  return openSqliteStore({ path, ...owner }, { clock: systemClock });
}

/** A database in a folder of its own. */
export async function createSqlitePlace() {
  const folder = await mkdtemp(join(tmpdir(), "cairn-storage-"));
  const path = join(folder, "node.db");
  return {
    folder,
    path,
    open: () => openAt(path),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** One node's key, the same in every process of a test. */
export function signerOf(): Ed25519Signer {
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.alloc(32, 7)]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  return Ed25519Signer.fromPem(Buffer.from(key.export({ format: "pem", type: "pkcs8" })));
}
