import {
  type ApprovalRow,
  approversOf,
  CairnError,
  type Clock,
  decodeCanonical,
  type Ed25519PublicKey,
  encodeCanonical,
  type RequestHash,
  type SignedSpendApproval,
  type SpendOutput,
  signedSpendApprovalSchema,
  verifySpendApproval,
} from "@cairn/core";
import { requiredApprovals } from "@cairn/policy";
import type { LiveSpends } from "./live-spends.ts";
import type { Batch } from "./loop.ts";
import type { SpendOptions } from "./spend-options.ts";

/** What people must say of a request before it is voted on, and what they have said. */
export interface ApprovalStanding {
  /** m: so many of `keys` must approve. */
  readonly needed: number;
  readonly keys: readonly Ed25519PublicKey[];
  /** Those of `keys` whose approvals count now. */
  readonly given: readonly Ed25519PublicKey[];
}

/** Approvals of one approver that may wait for requests which are not live here. */
const MAX_EARLY_PER_APPROVER = 256;
/** What a further approval must add to the life of one that still counts: an approver's every word costs a message to all. */
const MIN_EXTENSION_MS = 60_000;

/** The approvals of people that this node holds, also those that came before their request. */
export class ApprovalBook {
  readonly #options: Pick<SpendOptions, "book" | "clockSkewMs">;
  readonly #modules: { readonly clock: Clock; readonly live: LiveSpends };
  /** At most one of each approver. */
  readonly #kept = new Map<RequestHash, readonly SignedSpendApproval[]>();

  constructor(
    options: Pick<SpendOptions, "book" | "clockSkewMs">,
    modules: { readonly clock: Clock; readonly live: LiveSpends },
  ) {
    this.#options = options;
    this.#modules = modules;
  }

  restore(rows: readonly ApprovalRow[]): void {
    for (const { request, body } of rows) {
      const kept = this.#kept.get(request) ?? [];
      this.#kept.set(request, [...kept, decodeCanonical(signedSpendApprovalSchema, body)]);
    }
  }

  /** The approvers who consent to a request now. */
  given(request: RequestHash): readonly Ed25519PublicKey[] {
    return approversOf(this.#kept.get(request) ?? [], this.#context(request));
  }

  /** How the approvals stand that policy asks for; null where it asks for none. */
  standing(
    hash: RequestHash,
    request: { readonly outputs: readonly SpendOutput[] },
  ): ApprovalStanding | null {
    const required = requiredApprovals(this.#options.book.policy, request);
    if (required === null) return null;
    const given = this.given(hash);
    const { m: needed, keys } = required;
    return { needed, keys, given: keys.filter((key) => given.includes(key)) };
  }

  /** Whether policy asks for approvals of a request that are not there. */
  waits(hash: RequestHash, request: { readonly outputs: readonly SpendOutput[] }): boolean {
    const standing = this.standing(hash, request);
    return standing !== null && standing.given.length < standing.needed;
  }

  /**
   * Keeps an approval; false where one of its approver for the request counts about as long already.
   * @throws CairnError those of core's `verifySpendApproval`; `busy`
   */
  keep(batch: Batch, signed: SignedSpendApproval): boolean {
    const { requestHash: request, approver, expiry } = signed.body;
    verifySpendApproval(signed, this.#context(request));
    const kept = this.#kept.get(request) ?? [];
    const known = kept.find(({ body }) => body.approver === approver)?.body.expiry ?? 0;
    if (known > this.#modules.clock.now() && expiry < known + MIN_EXTENSION_MS) return false;
    if (known === 0) this.#refuseMany(request, approver);
    batch.put(this.#kept, request, [...kept.filter(({ body }) => body.approver !== approver), signed]);
    batch.write({ write: "approval", row: { request, approver, body: encodeCanonical(signed), expiry } });
    return true;
  }

  /** Forgets what has expired. */
  prune(batch: Batch): void {
    const at = this.#modules.clock.now();
    let expired = false;
    for (const [request, kept] of this.#kept) {
      const left = kept.filter(({ body }) => body.expiry > at);
      if (left.length === kept.length) continue;
      expired = true;
      if (left.length === 0) batch.remove(this.#kept, request);
      else batch.put(this.#kept, request, left);
    }
    if (expired) batch.write({ write: "approval-expiry", at });
  }

  #context(requestHash: RequestHash): Parameters<typeof verifySpendApproval>[1] {
    const { clockSkewMs, book } = this.#options;
    const { manifest } = book;
    return { manifest, requestHash, now: this.#modules.clock.now(), clockSkewMs };
  }

  /** Refuses an approval of a request that is not live here where too many of its approver are kept for such. */
  #refuseMany(request: RequestHash, approver: Ed25519PublicKey): void {
    const live = new Set(this.#modules.live.all().map(({ row }) => row.request));
    if (live.has(request)) return;
    const now = this.#modules.clock.now();
    let early = 0;
    for (const [other, kept] of this.#kept) {
      if (live.has(other)) continue;
      if (kept.some(({ body }) => body.approver === approver && body.expiry > now)) early += 1;
    }
    if (early < MAX_EARLY_PER_APPROVER) return;
    throw new CairnError(
      "busy",
      "too many approvals of this approver are here for requests that are not; hand it in again when its request is here",
      { approver },
    );
  }
}
