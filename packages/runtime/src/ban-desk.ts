import { psbtFault, psbtRuleVersions } from "@cairn/bitcoin";
import {
  type BanLedger,
  ban,
  bansInForce,
  type Evidence,
  type EvidenceVerifiers,
  evidenceSchema,
  type Judgement,
  judgeEvidence,
  ledgerOf,
  lift,
  offenceOf,
  reactionTo,
  type SignedAccusation,
  type SignedPartial,
  signAccusation,
  signedAccusationSchema,
  signedPublicDataAcceptanceSchema,
  type ViolationType,
} from "@cairn/consensus";
import {
  type BanRow,
  CairnError,
  type Clock,
  type Courier,
  decodeCanonical,
  encodeCanonical,
  type HashHex,
  type Manifest,
  type NodeIndex,
  type NodeStore,
  type SessionId,
  type SignedFenceAnswer,
  type Signer,
  sha256Hex,
  type Timer,
  type UnixMs,
  type ViolationRow,
  verifyMemberWord,
} from "@cairn/core";
import { z } from "zod";
import { atTime } from "./at-time.ts";
import type { Batch, Cell, Loop } from "./loop.ts";
import type { InForce } from "./manifest-book.ts";
import { otherMembers } from "./other-members.ts";
import { peerMessage } from "./peer-message.ts";

export interface BanDeskOptions {
  readonly me: NodeIndex;
  readonly book: Pick<InForce, "manifest" | "manifestHash" | "under">;
}

export interface BanDeskModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "bans" | "violations" | "presignature">;
  readonly courier: Courier;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly detected: (row: ViolationRow) => void;
  readonly banned: (row: BanRow) => void;
  readonly lifted: (node: NodeIndex) => void;
  /** Others proved that a node was set back: it once was as far as this answer says. */
  readonly setBack: (node: NodeIndex, earlier: SignedFenceAnswer) => Promise<void>;
  /** Whether operators have lifted the ban for this violation, though its evidence may come later than that. */
  readonly forgiven: (node: NodeIndex, violation: HashHex) => boolean;
}

/** A fault that some part of this node saw. */
export interface SeenViolation {
  readonly type: ViolationType;
  readonly node: NodeIndex;
  /** Intent or session. */
  readonly subject: string | null;
  /** What third parties can check, or null. */
  readonly evidence: Evidence | null;
}

const acceptancesSchema = z.array(signedPublicDataAcceptanceSchema);

/** Violations that are remembered, so that none is recorded twice. */
const MAX_KNOWN = 100_000;
/** The same fault of the same node is recorded once in this time: whoever repeats it must not fill the disk. */
const REPEAT_MS = 60_000;

/** Records faults, acts on them as consensus says, spreads what others can check, and keeps the banned out. */
export class BanDesk {
  readonly #options: BanDeskOptions;
  readonly #modules: BanDeskModules;
  readonly #verifiers: EvidenceVerifiers;
  readonly #ledger: Cell<BanLedger> = { value: ledgerOf([]) };
  /** Violations on record, oldest first. */
  readonly #known = new Map<HashHex, NodeIndex>();
  #timer: Timer | null = null;
  #closed = false;

  constructor(options: BanDeskOptions, modules: BanDeskModules) {
    this.#options = options;
    this.#modules = modules;
    this.#verifiers = {
      protocolVersions: psbtRuleVersions,
      intentFault: ({ psbt, request, anchor }, wallet) =>
        psbtFault(psbt, wallet, request.body, anchor?.checkpoint ?? null),
    };
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
    const { me, book } = this.#options;
    const { manifest } = book;
    if (seen.node === me) return;
    if (!manifest.members.some(({ index }) => index === seen.node)) return;
    const now = this.#modules.clock.now();
    const proven = seen.evidence !== null && this.proves(seen.evidence);
    const reaction = reactionTo({ kind: "violation", type: seen.type, proven });
    const id =
      seen.evidence === null
        ? (sha256Hex(
            Buffer.from(
              `${me}/${seen.node}/${seen.type}/${seen.subject}/${Math.floor(now / REPEAT_MS)}`,
              "utf8",
            ),
          ) as HashHex)
        : offenceOf(seen.evidence).id;
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
      violation: id,
    });
    batch.afterwards(() => this.#modules.detected(row));
    const scope = reaction.action === "ban" ? "cluster" : "local";
    if (reaction.action === "ban" || (reaction.action === "exclude" && reaction.lasts === "term")) {
      this.#ban(batch, { node: seen.node, violation: id, scope, at: now });
    }
    if (seen.evidence === null || !proven) return;
    const { cluster } = manifest;
    const accusation = signAccusation(
      { version: 1, cluster, accuser: me, evidence: seen.evidence },
      this.#modules.signer,
    );
    const others = otherMembers(manifest, me).filter((index) => index !== seen.node);
    batch.post(others, `evidence/${id}`, peerMessage("evidence", encodeCanonical(accusation)));
  }

  /**
   * A partial that this node's engine refused: with its signer's word on the presignature's public data it is proof for everybody,
   * without it excludes the signer here.
   */
  async wrongPartial(node: NodeIndex, partial: SignedPartial, session: SessionId): Promise<void> {
    const { presignature } = partial.body;
    const row = presignature === null ? null : await this.#modules.store.presignature(presignature);
    const words =
      row === null || row.acceptances === null ? [] : decodeCanonical(acceptancesSchema, row.acceptances);
    const acceptance = words.find(({ body }) => body.node === node);
    let evidence: Evidence | null = null;
    if (row !== null && acceptance !== undefined) {
      const { manifestHash } = this.#options.book;
      const publicData = new Uint8Array(row.publicData);
      evidence = { type: "InvalidPartial", version: 1, manifestHash, partial, publicData, acceptance };
    }
    await this.#modules.loop.run((batch) =>
      this.violation(batch, { type: "InvalidPartial", node, subject: session, evidence }),
    );
  }

  /** Whether evidence proves, to whoever holds the manifest, what it says of a node that is still the same. */
  proves(evidence: Evidence): boolean {
    return this.#judge(evidence).kind === "proven" && this.#isStillMember(evidence);
  }

  /**
   * A peer accuses another: judged here, whoever says so. An accusation that proves nothing is the accuser's own offence, and its
   * signature on it the proof.
   * @throws CairnError `malformed` and the like, `wrong-cluster`, `not-member`, `signature-invalid`, `wrong-manifest` (one that this node
   * does not know)
   */
  async onEvidence(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const { manifest } = this.#options.book;
    const accusation = decodeCanonical(signedAccusationSchema, payload);
    const { accuser, evidence } = accusation.body;
    if (accuser !== from) throw new CairnError("not-member", "a node accuses in its own name only", { from });
    if (this.#known.has(offenceOf(evidence).id)) return;
    verifyMemberWord("cairn/accusation/v1", accusation, from, manifest);
    const judgement = this.#judge(evidence);
    if (judgement.kind === "unjudgeable") return;
    if (judgement.kind === "proven" && !this.#isStillMember(evidence)) return;
    if (judgement.kind === "proven" && evidence.type === "Rollback")
      await this.#modules.setBack(judgement.node, evidence.answers[0]);
    const fault = judgement.kind === "proven" ? evidence : falseAccusation(accusation);
    const offence = fault === null ? { node: from, subject: null } : offenceOf(fault);
    await this.#modules.loop.run((batch) =>
      this.violation(batch, { ...offence, type: fault?.type ?? "InvalidSignature", evidence: fault }),
    );
  }

  /**
   * This node's accusations that keep others out now, for a peer that asks.
   * @param asker is handed none against itself
   */
  async accusations(asker: NodeIndex): Promise<readonly Uint8Array[]> {
    const { me, book } = this.#options;
    const { store, signer } = this.#modules;
    const accusations: Uint8Array[] = [];
    for (const { node, violation, scope } of this.bans()) {
      if (node === asker || scope !== "cluster") continue;
      const [row] = await store.violations({ id: violation, limit: 1 });
      if (row === undefined || row.evidence.length === 0) continue;
      const evidence = decodeCanonical(evidenceSchema, row.evidence);
      const { cluster } = book.manifest;
      const accusation = signAccusation({ version: 1, cluster, accuser: me, evidence }, signer);
      accusations.push(encodeCanonical(accusation));
    }
    return accusations;
  }

  /** Ends bans before their time, as a quorum of operators has decided. */
  lift(batch: Batch, node: NodeIndex, violations: readonly HashHex[]): void {
    const { ledger, rows } = lift(this.#ledger.value, { node, violations, at: this.#modules.clock.now() });
    batch.assign(this.#ledger, ledger);
    for (const row of rows) {
      batch.write({ write: "ban", row });
      batch.audit("ban-lifted", String(node), { violation: row.violation });
    }
    batch.afterwards(() => this.#apply());
    batch.afterwards(() => this.#modules.lifted(node));
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
    if (this.#modules.forgiven(order.node, order.violation)) return;
    const result = ban(this.#ledger.value, order, this.#options.book.manifest);
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

  #judge(evidence: Evidence): Judgement {
    return judgeEvidence(evidence, this.#options.book.under(evidence.manifestHash), this.#verifiers);
  }

  /** Whether the accused of then is who has its index now: another node must not answer for it. */
  #isStillMember(evidence: Evidence): boolean {
    const { book } = this.#options;
    const { node } = offenceOf(evidence);
    const identityIn = ({ members }: Manifest) => members.find(({ index }) => index === node)?.identity;
    return identityIn(book.manifest) === identityIn(book.under(evidence.manifestHash).manifest);
  }
}

/** What proves the accusation false; null where the accusation is itself of a false accusation, which is no proof at third hand. */
function falseAccusation({ body, signature }: SignedAccusation): Evidence | null {
  const { evidence } = body;
  if (evidence.type === "FalseAccusation") return null;
  return {
    type: "FalseAccusation",
    version: 1,
    manifestHash: evidence.manifestHash,
    accusation: { body: { ...body, evidence }, signature },
  };
}
