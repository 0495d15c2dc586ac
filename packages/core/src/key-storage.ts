import { domainHash } from "./canonical.ts";
import type { HashHex, KeyId } from "./ids.ts";
import type { Manifest } from "./manifest.ts";

/** Names the set of parties that auxiliary information is shared by. */
export function partiesOf({ cluster, members }: Pick<Manifest, "cluster" | "members">): HashHex {
  const identities = members.map(({ identity }) => identity);
  return domainHash("cairn/keygen-request/v1", { cluster, identities }) as HashHex;
}

/** Where a store's `meta` keeps the execution that made the auxiliary information of `parties`. */
export function auxiliaryExecutionKey(parties: HashHex): string {
  return `auxiliary-execution/${parties}`;
}

/** Where a store's `meta` keeps the state of a key's machine. */
export function keyStateKey(keyId: KeyId): string {
  return `keygen/${keyId}`;
}

/** Where a store's `meta` keeps the operators' words on backups: a canonical list of `SignedVerifiedBackup`, ascending by node. */
export const VERIFIED_BACKUPS_KEY = "verified-backups";
