import {
  AUDIT_ROOT,
  type AuditEntry,
  type AuditRow,
  auditEntryHash,
  auditEntrySchema,
  CairnError,
  type Clock,
  type ClusterId,
  Encoded,
  type ErrorData,
  type HashHex,
  type NodeIndex,
  type NodeStore,
  parseShape,
  type Signer,
  type StoreWrite,
} from "@cairn/core";
import { grantOf } from "./grant-of.ts";
import { verifyAuditLog } from "./verify-audit-log.ts";

/** One thing worth an entry: what happened, to what, and facts without secrets. */
export interface AuditFact {
  /** E.g. `vote-cast`; at most 64 characters. */
  readonly kind: string;
  /** An intent, session, key or node, or empty; at most 128 characters. */
  readonly subject: string;
  /** `grant`, where it is a grant id, also makes the entry findable by it. */
  readonly data: ErrorData;
}

const MAX_TEXT = 4096;

/**
 * The node's audit log: a hash chain of signed entries (`cairn/audit/v1`). It makes the rows; they become durable in the same
 * commit as the state that they record. One writer at a time:
 *
 * ```ts
 * const rows = audit.entries(facts);
 * try {
 *   await store.commit([...writes, ...rows]);
 *   audit.committed();
 * } catch (error) {
 *   audit.discarded();
 *   throw error;
 * }
 * ```
 */
export class AuditLog {
  readonly #cluster: ClusterId;
  readonly #node: NodeIndex;
  readonly #signer: Signer;
  readonly #clock: Clock;
  #head: AuditRow | null;
  #pending: AuditRow | null = null;

  private constructor(
    options: { readonly cluster: ClusterId; readonly node: NodeIndex },
    modules: { readonly signer: Signer; readonly clock: Clock },
    head: AuditRow | null,
  ) {
    this.#cluster = options.cluster;
    this.#node = options.node;
    this.#signer = modules.signer;
    this.#clock = modules.clock;
    this.#head = head;
  }

  /**
   * Continues the log that `store` holds.
   * @throws CairnError `audit-broken` when its head is not an entry of this node's own
   */
  static async create(
    options: { readonly cluster: ClusterId; readonly node: NodeIndex },
    modules: {
      readonly store: Pick<NodeStore, "auditHead">;
      readonly signer: Signer;
      readonly clock: Clock;
    },
  ): Promise<AuditLog> {
    const head = await modules.store.auditHead();
    if (head !== null) {
      const after = { seq: head.seq - 1, hash: head.previous };
      const verdict = verifyAuditLog([head], { ...options, publicKey: modules.signer.publicKey, after });
      if (!verdict.ok) {
        throw new CairnError(
          "audit-broken",
          "the last entry of the audit log is not this node's own: restore the database from a backup, or the node's key",
          { seq: head.seq, reason: verdict.reason },
        );
      }
    }
    return new AuditLog(options, modules, head);
  }

  /** How many entries are durable. */
  get length(): number {
    return this.#head === null ? 0 : this.#head.seq + 1;
  }

  /** Hash of the last durable entry, or {@link AUDIT_ROOT}. */
  get headHash(): HashHex {
    return this.#head?.hash ?? AUDIT_ROOT;
  }

  /**
   * The next entries, in order, as writes that belong into one commit. Lists in `data` become text, numbers with a fraction
   * too, and text is cut at 4096 characters.
   * @throws CairnError `wrong-state` while the outcome of the last call is open, `malformed` when a fact does not fit
   */
  entries(facts: readonly AuditFact[]): readonly StoreWrite[] {
    if (this.#pending !== null) {
      throw new CairnError(
        "wrong-state",
        "the audit entries of the last call are neither committed nor discarded",
      );
    }
    let head = this.#head;
    const writes: StoreWrite[] = [];
    for (const fact of facts) {
      head = this.#next(head, fact);
      writes.push({ write: "audit", row: head });
    }
    this.#pending = writes.length === 0 ? null : head;
    return writes;
  }

  /** The entries of the last call are durable. */
  committed(): void {
    this.#head = this.#pending ?? this.#head;
    this.#pending = null;
  }

  /** The entries of the last call are not durable; the next call begins where that one did. */
  discarded(): void {
    this.#pending = null;
  }

  #next(head: AuditRow | null, fact: AuditFact): AuditRow {
    const entry: AuditEntry = parseShape(auditEntrySchema, {
      version: 1,
      cluster: this.#cluster,
      node: this.#node,
      seq: head === null ? 0 : head.seq + 1,
      previous: head === null ? AUDIT_ROOT : head.hash,
      at: this.#clock.now(),
      kind: fact.kind,
      subject: fact.subject,
      data: Object.fromEntries(Object.entries(fact.data).map(([key, value]) => [key, plain(value)])),
    });
    const encoded = Encoded.of(entry);
    return {
      seq: entry.seq,
      at: entry.at,
      kind: entry.kind,
      grant: grantOf(entry),
      body: encoded.bytes,
      previous: entry.previous,
      hash: auditEntryHash(encoded),
      signature: this.#signer.sign("cairn/audit/v1", encoded),
    };
  }
}

function plain(value: ErrorData[string]): string | number | boolean | null {
  if (typeof value === "boolean" || value === null) return value;
  if (typeof value === "number" && Number.isSafeInteger(value)) return value;
  const text = typeof value === "object" ? value.join(", ") : String(value);
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 1)}…` : text;
}
