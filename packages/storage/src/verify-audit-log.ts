import {
  AUDIT_ROOT,
  type AuditEntry,
  type AuditRow,
  auditEntryHash,
  auditEntrySchema,
  type ClusterId,
  decodeCanonical,
  type Ed25519PublicKey,
  type HashHex,
  isCairnError,
  type NodeIndex,
  verifySignature,
} from "@cairn/core";
import { grantOf } from "./grant-of.ts";

/**
 * `altered`: an entry's body, columns, hash or signature do not belong together. `foreign`: it is another node's or cluster's.
 * `missing`: entries before it are not there. `reordered`: they are, but later. `repeated`: the same entry again.
 * `forked`: a second history of the node, signed, that contradicts the first.
 */
export type AuditFault = "altered" | "foreign" | "missing" | "reordered" | "repeated" | "forked";

export type AuditVerdict =
  | {
      readonly ok: true;
      /** Entries up to here, from the first of the log. */
      readonly length: number;
      /** Hash of the last, or {@link AUDIT_ROOT}. */
      readonly head: HashHex;
    }
  | { readonly ok: false; readonly seq: number; readonly reason: AuditFault };

/**
 * Judges `rows` as a node's audit log, offline, and names the first bad sequence number.
 * @param expected `publicKey` is the node's Ed25519 key from the manifest. `after` is the entry that the rows continue, for logs
 *   that are read in pages. `known` is an entry that must be among the rows, such as a co-signed checkpoint names: without it
 *   nobody can see that the newest entries were cut off.
 */
export function verifyAuditLog(
  rows: readonly AuditRow[],
  expected: {
    readonly cluster: ClusterId;
    readonly node: NodeIndex;
    readonly publicKey: Ed25519PublicKey;
    readonly after?: { readonly seq: number; readonly hash: HashHex };
    readonly known?: { readonly seq: number; readonly hash: HashHex };
  },
): AuditVerdict {
  const start = expected.after === undefined ? 0 : expected.after.seq + 1;
  let head = expected.after?.hash ?? AUDIT_ROOT;
  let next = start;
  const hashes = new Map<number, HashHex>();
  const bad = (seq: number, reason: AuditFault): AuditVerdict => ({ ok: false, seq, reason });

  for (const [position, row] of rows.entries()) {
    const entry = readEntry(row);
    if (entry === null) return bad(row.seq, "altered");
    if (entry.cluster !== expected.cluster || entry.node !== expected.node) return bad(row.seq, "foreign");
    if (!verifySignature("cairn/audit/v1", entry, expected.publicKey, row.signature)) {
      return bad(row.seq, "altered");
    }
    if (row.seq > next) {
      const later = rows.slice(position + 1).some((other) => other.seq === next);
      return bad(next, later ? "reordered" : "missing");
    }
    if (row.seq < next) return bad(row.seq, hashes.get(row.seq) === row.hash ? "repeated" : "forked");
    if (row.previous !== head) return bad(row.seq, "forked");
    hashes.set(row.seq, row.hash);
    head = row.hash;
    next += 1;
  }
  const { known } = expected;
  if (known !== undefined && known.seq >= start) {
    const found = hashes.get(known.seq);
    if (found === undefined) return bad(next, "missing");
    if (found !== known.hash) return bad(known.seq, "forked");
  }
  return { ok: true, length: next, head };
}

/** The entry of a row whose columns and hash are the body's own, or null. */
function readEntry(row: AuditRow): AuditEntry | null {
  let entry: AuditEntry;
  try {
    entry = decodeCanonical(auditEntrySchema, row.body);
  } catch (cause) {
    if (isCairnError(cause)) return null;
    throw cause;
  }
  const belongs =
    entry.seq === row.seq &&
    entry.at === row.at &&
    entry.kind === row.kind &&
    entry.previous === row.previous &&
    grantOf(entry) === row.grant &&
    auditEntryHash(entry) === row.hash;
  return belongs ? entry : null;
}
