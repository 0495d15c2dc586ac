import type { ChainSource, CheckedSpend } from "@cairn/bitcoin";
import type { Verdict } from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  type IntentHash,
  type LineageId,
  type NodeStore,
  type RequestHash,
  type SpendRequest,
  type TransactionRow,
} from "@cairn/core";
import { evaluate, type PolicyVerdict, policyWindow } from "@cairn/policy";
import type { ApprovalBook } from "./approval-book.ts";
import type { LiveSpend, LiveSpends } from "./live-spends.ts";
import type { Loop } from "./loop.ts";
import { isOutlived } from "./outlived-intent.ts";
import { checkSpend, type SpendCheck } from "./spend-check.ts";
import type { SpendClaims } from "./spend-claims.ts";
import type { SpendOptions } from "./spend-options.ts";
import type { WalletBook } from "./wallet-book.ts";

export interface SpendJudgeModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "votes">;
  readonly chain: ChainSource;
  readonly wallets: WalletBook;
  readonly clock: Clock;
  readonly live: LiveSpends;
  readonly claims: SpendClaims;
  /** Resolves once this node may vote and sign. @throws CairnError `rolled-back` */
  readonly admitted: () => Promise<void>;
  readonly approvals: ApprovalBook;
  /** Whether this node may have acted in the spend's lineage before it lost its database. */
  readonly forgot: (row: TransactionRow) => Promise<boolean>;
}

/** What this node itself finds of a spend: its PSBT against request and chain, its policy, and what other spends hold. */
export class SpendJudge {
  readonly #options: Pick<SpendOptions, "me" | "book">;
  readonly #modules: SpendJudgeModules;

  constructor(options: Pick<SpendOptions, "me" | "book">, modules: SpendJudgeModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** Holds a spend's PSBT against its request and this node's chain source. */
  async check(hash: IntentHash): Promise<SpendCheck> {
    const { chain, wallets, live, claims } = this.#modules;
    await claims.cover(policyWindow(this.#options.book.policy));
    return checkSpend(live.of(hash).intent, { chain, wallets });
  }

  /** Policy and reservations, against memory as it is now. */
  verdict(hash: IntentHash, check: SpendCheck): Verdict {
    if (check.kind === "fault") return { kind: "reject", code: check.code, blocking: [] };
    if (check.kind === "wait") return { kind: "defer", code: check.code, blocking: [] };
    const { clock, claims, approvals } = this.#modules;
    const live = this.#modules.live.of(hash);
    const { book } = this.#options;
    if (isOutlived(live.intent, book.under(live.intent.manifestHash).manifest, book.manifest))
      return { kind: "reject", code: "wrong-manifest", blocking: [] };
    // Policy counts what other lineages paid: of its own nothing counts, since a lineage is paid once.
    if (claims.isPaid(live.row.lineage)) return { kind: "reject", code: "replayed", blocking: [] };
    // Another policy may have come into force since the check: one that looks further back has its history read first.
    if (!claims.covers(policyWindow(book.policy))) return this.#deferred("wrong-policy", []);
    const policy = evaluate(book.policy, {
      history: claims.history(),
      paid: claims.paid,
      request: live.intent.request.body,
      lineage: live.row.lineage,
      feeSats: check.checked.feeSats,
      vbytes: check.checked.vsize,
      approvals: approvals.given(live.row.request),
      now: clock.now(),
    });
    const strictest = policy.rules.find((rule) => rule.decision === policy.decision);
    if (policy.decision === "deny")
      return { kind: "reject", code: `policy-${strictest?.rule ?? "denied"}`, blocking: [] };
    if (policy.decision === "wait") {
      const blocking = policy.rules.flatMap((rule) => rule.blocking);
      return this.#deferred(`policy-${strictest?.rule ?? "waits"}`, blocking);
    }
    const claimed = claims.weigh(hash);
    switch (claimed.kind) {
      case "refused":
        return { kind: "reject", code: claimed.code, blocking: [] };
      case "conflict":
        return this.#deferred(claimed.code, claimed.blocking);
      case "reserved":
        return { kind: "approve" };
    }
  }

  /** What this node's policy says of a spend, with nothing reserved; approvals count where the request is known by its hash. */
  dryRun(
    request: Pick<SpendRequest, "outputs" | "maxFeeSats">,
    hash: RequestHash | null = null,
  ): PolicyVerdict {
    const { claims, live, approvals } = this.#modules;
    const known = live.all().find(({ row }) => row.request === hash);
    return evaluate(this.#options.book.policy, {
      history: claims.history(),
      paid: claims.paid,
      request,
      lineage: known?.row.lineage ?? ("" as LineageId),
      feeSats: request.maxFeeSats,
      vbytes: Number.MAX_SAFE_INTEGER,
      approvals: hash === null ? [] : approvals.given(hash),
      now: this.#modules.clock.now(),
    });
  }

  /** Reads a spend's PSBT for its signatures, whatever policy says; null where that is not possible now. */
  async read(hash: IntentHash): Promise<CheckedSpend | null> {
    const { live, loop } = this.#modules;
    const check = await this.check(hash);
    if (check.kind !== "ok") return null;
    await loop.run((batch) => {
      if (live.has(hash)) live.set(batch, hash, { checked: check.checked });
    });
    return check.checked;
  }

  /**
   * Has this node check a certified spend for itself and reserve for it, before its first Ack (architecture §5.3).
   * @throws CairnError with the reason for which it does not take part
   */
  async approve(hash: IntentHash): Promise<CheckedSpend> {
    const { live, loop, claims } = this.#modules;
    const known = this.#notGivenUp(hash);
    if (known.reserved && known.checked !== null) return known.checked;
    await this.#modules.admitted();
    const check = await this.check(hash);
    if (check.kind !== "ok") {
      throw new CairnError(check.kind === "wait" ? "chain-unavailable" : "psbt-invalid", check.message, {
        reason: check.code,
      });
    }
    const forgot = await this.#modules.forgot(known.row);
    const votes = await this.#modules.store.votes(hash);
    const approved = votes.some(({ voter, approve }) => voter === this.#options.me && approve);
    return loop.run((batch) => {
      this.#notGivenUp(hash);
      live.set(batch, hash, { checked: check.checked });
      if (forgot) throw abstains(hash);
      // Policy allowed it when this node voted and reserved for it: one that tightened since does not strand what a quorum has certified.
      if (approved && claims.holds(known.row)) {
        live.set(batch, hash, { reserved: true });
        return check.checked;
      }
      const verdict = this.verdict(hash, check);
      switch (verdict.kind) {
        case "approve":
          claims.hold(batch, hash);
          return check.checked;
        case "reject":
          throw new CairnError("policy-denied", "this node's policy does not allow the spend", {
            rule: verdict.code,
          });
        case "defer":
          if (verdict.code === "policy-approvals") {
            const words = "this node does not have the approvals that policy asks for";
            throw new CairnError("wrong-state", words, { reason: verdict.code });
          }
          throw new CairnError("coin-reserved", "another spend holds its coins or limits", {
            reason: verdict.code,
          });
      }
    });
  }

  #notGivenUp(hash: IntentHash): LiveSpend {
    const live = this.#modules.live.of(hash);
    if (live.voiding) throw new CairnError("wrong-state", "this node gave the spend up", { intent: hash });
    return live;
  }

  #deferred(code: string, blocking: readonly IntentHash[]): Verdict {
    const { claims } = this.#modules;
    return {
      kind: "defer",
      code,
      blocking: blocking.map((intent) => ({ intent, certified: claims.isFirm(intent) })),
    };
  }
}

function abstains(intent: IntentHash): CairnError {
  return new CairnError(
    "wrong-state",
    "this node lost its database and may have acted on the request before: the others sign it",
    { intent, reason: "amnesia" },
  );
}
