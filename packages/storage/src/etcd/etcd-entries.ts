import type { IKeyValue, Namespace } from "etcd3";
import type { CoordinationEntry } from "../coordination.ts";

/** Entries under a prefix, by key, and the revision of the whole store at which they were read. */
export async function listEntries(
  keys: Namespace,
  prefix: string,
): Promise<{ readonly revision: number; readonly entries: readonly CoordinationEntry[] }> {
  const { header, kvs } = await keys.getAll().prefix(prefix).sort("Key", "Ascend").exec();
  return { revision: Number(header.revision), entries: kvs.map(toEntry) };
}

export function toEntry(kv: IKeyValue): CoordinationEntry {
  return { key: kv.key.toString(), value: kv.value.toString(), revision: Number(kv.mod_revision) };
}
