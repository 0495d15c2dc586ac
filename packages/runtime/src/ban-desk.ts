import { bitcoinErrorReason, checkPsbt, type PsbtRules } from "@cairn/bitcoin";
import {
  type BanLedger,
  ban,
  bansInForce,
  type Evidence,
  type EvidenceVerifiers,
  evidenceHash,
  evidenceSchema,
  type Intent,
  judgeEvidence,
  ledgerOf,
  reactionTo,
  type SignedPartial,
  signedPublicDataAcceptanceSchema,
  type ViolationType,
} from "@cairn/consensus";
import {
  type BanRow,
  CairnError,
  type Clock,
  type Courier,
  decodeCanonical,
  type ErrorCode,
  encodeCanonical,
  type HashHex,
  isCairnError,
  type KeyId,
  type Manifest,
  type ManifestHash,
  type NodeIndex,
  type NodeStore,
  type SessionId,
  sha256Hex,
  type Timer,
  type UnixMs,
  type ViolationRow,
} from "@cairn/core";
import type { Engine } from "@cairn/signing";
import { z } from "zod";
import { atTime } from "./at-time.ts";
import type { Batch, Cell, Loop } from "./loop.ts";
import type { SpendSigningItem } from "./spend-desk.ts";
import type { WalletBook } from "./wallet-book.ts";

export interface BanDeskOptions {
  readonly me: NodeIndex;
  readonly manifest: Manifest;
  readonly manifestHash: ManifestHash;
  readonly protocolVersions: readonly number[];
}

export interface BanDeskModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "bans" | "violations" | "presignature">;
  readonly courier: Courier;
  readonly clock: Clock;
  readonly wallets: WalletBook;
  readonly engine: Pick<Engine, "combinePartials">;
  /** What a sighash stands for, as this node read it itself from a spend under way; null where it knows none. */
  readonly signingItem: (sighash: string) => SpendSigningItem | null;
  /** @throws CairnError `not-found` */
  readonly publicPackage: (keyId: KeyId) => Uint8Array;
  readonly detected: (row: ViolationRow) => void;
  readonly banned: (row: BanRow) => void;
  readonly report: (cause: unknown) => void;
}

/** A fault that some part of this node saw. */
export interface SeenViolation {
  readonly type: ViolationType;
  readonly node: NodeIndex;
  /** Intent or session. */
  readonly subject: string | null;
  /** What third parties can check, or null. */
  readonly evidence: Evidence | null;
  /** The engine's answer about the partial in `evidence`, where that is about one. */
  readonly partialValid?: boolean | null;
}

type InvalidPartial = Extract<Evidence, { readonly type: "InvalidPartial" }>;

const acceptancesSchema = z.array(signedPublicDataAcceptanceSchema);

/** Violations that are remembered, so that none is recorded twice. */
const MAX_KNOWN = 100_000;
/** The same fault of the same node is recorded once in this time: whoever repeats it must not fill the disk. */
const REPEAT_MS = 60_000;

/** Records faults, acts on them as consensus says, spreads what others can check, and keeps the banned out. */
export class BanDesk {
  readonly #options: BanDeskOptions;
  readonly #modules: BanDeskModules;
  readonly #ledger: Cell<BanLedger> = { value: ledgerOf([]) };
  /** Violations on record, oldest first. */
  readonly #known = new Map<HashHex, NodeIndex>();
  #timer: Timer | null = null;
  #closed = false;

  constructor(options: BanDeskOptions, modules: BanDeskModules) {
    this.#options = options;
    this.#modules = modules;
  }

  async restore(): Promise<void> {
    this.#ledger.value = ledgerOf(await this.#modules.store.bans());
    const rows = await this.#modules.store.violations({ limit: MAX_KNOWN });
    for (const { id, node } of rows.toReversed()) this.#known.set(id, node);
    this.#apply();
  }

  /** Bans in force now. */
  bans(): readonly BanRow[] {
    return bansInForce(this.#ledger.value, this.#modules.clock.now());
  }

  /** Nodes that nothing is accepted from. */
  refused(): ReadonlySet<NodeIndex> {
    return new Set(this.bans().map(({ node }) => node));
  }

  /** @throws CairnError `NodeBanned` */
  refuseBanned(node: NodeIndex): void {
    const row = this.bans().find((entry) => entry.node === node);
    if (row === undefined) return;
    throw new CairnError(
      "NodeBanned",
      "the node is banned; `cairn cluster bans explain` shows the evidence",
      {
        node,
        until: row.until,
        violation: row.violation,
      },
    );
  }

  /** Records a fault in the batch of whatever saw it. A node never accuses itself. */
  violation(batch: Batch, seen: SeenViolation): void {
    const { me } = this.#options;
    if (seen.node === me) return;
    if (!this.#options.manifest.members.some(({ index }) => index === seen.node)) return;
    const now = this.#modules.clock.now();
    const proven =
      seen.evidence !== null && this.#judge(seen.evidence, seen.partialValid ?? null).kind === "proven";
    const reaction = reactionTo({ kind: "violation", type: seen.type, proven });
    const id =
      seen.evidence === null
        ? (sha256Hex(
            Buffer.from(
              `${me}/${seen.node}/${seen.type}/${seen.subject}/${Math.floor(now / REPEAT_MS)}`,
              "utf8",
            ),
          ) as HashHex)
        : evidenceHash(seen.evidence);
    if (this.#known.has(id)) return;
    batch.put(this.#known, id, seen.node);
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_KNOWN && oldest !== undefined) batch.remove(this.#known, oldest);
    const evidence = seen.evidence === null ? new Uint8Array() : encodeCanonical(seen.evidence);
    const row: ViolationRow = {
      id,
      node: seen.node,
      type: seen.type,
      subject: seen.subject,
      evidence,
      action: reaction.action,
      detectedAt: now,
    };
    batch.write({ write: "violation", row });
    batch.audit("violation", seen.subject ?? "", {
      node: seen.node,
      type: seen.type,
      action: reaction.action,
    });
    batch.afterwards(() => this.#modules.detected(row));
    const scope = reaction.action === "ban" ? "cluster" : "local";
    if (reaction.action === "ban" || (reaction.action === "exclude" && reaction.lasts === "term")) {
      this.#ban(batch, { node: seen.node, violation: id, scope, at: now });
    }
    if (proven) {
      const message = { kind: "evidence", session: null, round: 0, payload: evidence, trace: null } as const;
      const others = this.#options.manifest.members
        .map(({ index }) => index)
        .filter((index) => index !== me && index !== seen.node);
      batch.post(others, `evidence/${id}`, message);
    }
  }

  /**
   * A partial that this node's engine refused: with the words of the presignature's signers it is proof for everybody, without
   * them it excludes the signer here.
   */
  async wrongPartial(node: NodeIndex, partial: SignedPartial, session: SessionId): Promise<void> {
    const { presignature } = partial.body;
    const row = presignature === null ? null : await this.#modules.store.presignature(presignature);
    let evidence: InvalidPartial | null = null;
    if (row !== null && row.acceptances !== null) {
      const acceptances = decodeCanonical(acceptancesSchema, row.acceptances);
      evidence = {
        type: "InvalidPartial",
        version: 1,
        partial,
        publicData: new Uint8Array(row.publicData),
        acceptances,
      };
    }
    await this.#modules.loop.run((batch) =>
      this.violation(batch, {
        type: "InvalidPartial",
        node,
        subject: session,
        evidence,
        partialValid: false,
      }),
    );
  }

  /** Whether evidence proves, to whoever holds the manifest and the wallets, what it says. */
  proves(evidence: Evidence): boolean {
    return this.#judgeable(evidence) && this.#judge(evidence, null).kind === "proven";
  }

  /** A peer's evidence: judged here, whoever sent it. Forged evidence counts against its sender, at this node. */
  async onEvidence(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const evidence = decodeCanonical(evidenceSchema, payload);
    if (this.#known.has(evidenceHash(evidence))) return;
    if (!this.#judgeable(evidence)) {
      throw new CairnError(
        "busy",
        "this node does not hold the wallet's record yet; send the evidence again",
        {
          from,
        },
      );
    }
    const partialValid = evidence.type === "InvalidPartial" ? await this.#partialValid(evidence) : null;
    const judgement = this.#judge(evidence, partialValid);
    await this.#modules.loop.run((batch) => {
      if (judgement.kind === "proven") {
        this.violation(batch, {
          type: judgement.type,
          node: judgement.node,
          subject: null,
          evidence,
          partialValid,
        });
      } else if (judgement.kind === "forged") {
        this.violation(batch, {
          type: "InvalidSignature",
          node: from,
          subject: evidenceHash(evidence),
          evidence: null,
        });
      }
    });
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #ban(
    batch: Batch,
    order: {
      readonly node: NodeIndex;
      readonly violation: HashHex;
      readonly scope: "local" | "cluster";
      readonly at: BanRow["from"];
    },
  ): void {
    const result = ban(this.#ledger.value, order, this.#options.manifest);
    switch (result.kind) {
      case "known":
        return;
      case "floor":
        batch.audit("ban-withheld", String(order.node), { usable: result.usable, needed: result.needed });
        return;
      case "banned":
        batch.assign(this.#ledger, result.ledger);
        batch.write({ write: "ban", row: result.row });
        batch.audit("node-banned", String(order.node), { scope: order.scope, until: result.row.until });
        batch.afterwards(() => this.#apply());
        batch.afterwards(() => this.#modules.banned(result.row));
    }
  }

  /** Tells the transport whom to refuse, and again when the next ban ends. */
  #apply(): void {
    const { clock, courier } = this.#modules;
    const inForce = this.bans();
    courier.setRefused(new Set(inForce.map(({ node }) => node)));
    const ends = inForce.map(({ until }) => until).filter((until) => until !== null);
    this.#timer?.cancel();
    if (ends.length === 0 || this.#closed) return;
    this.#timer = atTime(clock, Math.min(...ends) as UnixMs, () => this.#apply());
  }

  /** An intent can be held against its wallet only where the wallet's record is. */
  #judgeable(evidence: Evidence): boolean {
    return evidence.type !== "MinorityVote" || this.#modules.wallets.has(evidence.intent.wallet);
  }

  /**
   * Whether a partial is right against its public data, asked of the engine off the event loop; null where this node cannot
   * tell. The engine checks each partial on its own, so the same one stands in for the other signers, whose answers are not used.
   */
  async #partialValid({ partial, publicData, acceptances }: InvalidPartial): Promise<boolean | null> {
    const { from, sighash, partial: bytes } = partial.body;
    const item = this.#modules.signingItem(sighash);
    const [acceptance] = acceptances;
    if (item === null || acceptance === undefined) return null;
    try {
      await this.#modules.engine.combinePartials({
        publicPackage: this.#modules.publicPackage(item.keyId),
        publicData,
        path: item.path,
        preimage: item.preimage,
        partials: acceptance.body.signers.map((signer) => ({ from: signer, partial: bytes })),
      });
      return true;
    } catch (error) {
      if (!isCairnError(error)) throw error;
      const { blamed } = error.data;
      if (error.code !== "invalid-partial" || !Array.isArray(blamed)) return null;
      return !blamed.some((node) => node === from);
    }
  }

  #judge(evidence: Evidence, partialValid: boolean | null) {
    const { manifest, manifestHash } = this.#options;
    return judgeEvidence(evidence, { manifest, manifestHash }, this.#verifiers(partialValid));
  }

  #verifiers(partialValid: boolean | null): EvidenceVerifiers {
    return {
      protocolVersions: this.#options.protocolVersions,
      intentFault: (intent) => this.#intentFault(intent),
      partialValid: () => partialValid,
    };
  }

  /** A fault that no height and no index could excuse. */
  #intentFault(intent: Intent): ErrorCode | null {
    const rules: PsbtRules = {
      descriptor: this.#modules.wallets.get(intent.wallet).descriptor,
      request: intent.request.body,
      tipHeight: 499_999_999,
      nextChangeIndex: 0x7fffffff,
    };
    try {
      checkPsbt(intent.psbt, rules);
      return null;
    } catch (error) {
      if (!isCairnError(error) || bitcoinErrorReason(error) === undefined) throw error;
      return error.code;
    }
  }
}
