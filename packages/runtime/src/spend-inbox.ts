import {
  certificateSchema,
  checkIntent,
  checkIntentForm,
  decodeVote,
  deferralSchema,
  FIRST_ROUND,
  type Intent,
  intentHash,
  intentSchema,
  signedVoidSchema,
  type VotingEvent,
  verifyVoid,
  verifyVote,
} from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  decodeCanonical,
  type IntentHash,
  isCairnError,
  type NodeIndex,
  type NodeStore,
  signedSpendApprovalSchema,
} from "@cairn/core";
import type { EarlyEvents } from "./early-events.ts";
import type { FaultyIntents, RecordViolation } from "./faulty-intents.ts";
import type { LiveSpends } from "./live-spends.ts";
import type { Loop } from "./loop.ts";
import type { SpendIntake } from "./spend-intake.ts";
import { intentContext, type SpendOptions } from "./spend-options.ts";
import type { SpendSignatures } from "./spend-signatures.ts";
import type { SpendVoting } from "./spend-voting.ts";
import type { WalletBook } from "./wallet-book.ts";

export interface SpendInboxModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "transaction">;
  readonly wallets: WalletBook;
  readonly clock: Clock;
  readonly live: LiveSpends;
  readonly early: EarlyEvents;
  readonly faulty: FaultyIntents;
  readonly intake: SpendIntake;
  readonly voting: SpendVoting;
  readonly signatures: SpendSignatures;
  readonly violation: RecordViolation;
}

/** What peers say of spends before they are signed. */
export class SpendInbox {
  readonly #options: SpendOptions;
  readonly #modules: SpendInboxModules;

  constructor(options: SpendOptions, modules: SpendInboxModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** A peer's intent. Faults in it are refused, recorded, and not asked for again. */
  async onIntent(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const { loop, clock, faulty, intake, wallets } = this.#modules;
    const intent = decodeCanonical(intentSchema, payload);
    const hash = intentHash(intent);
    if (await this.#isSettledOrLive(hash)) return;
    try {
      checkIntent(
        intent,
        intentContext(this.#options.book.under(intent.manifestHash), this.#options, clock.now()),
      );
    } catch (error) {
      if (!isCairnError(error)) throw error;
      // Nobody pays what has expired, but those who reserved for it in time need this node's void to free their coins.
      if (error.code !== "expired") {
        if (this.#isMalformed(intent)) await loop.run((batch) => faulty.add(batch, hash, intent));
        throw error;
      }
    }
    intake.checkQuota(from, intent.request);
    if (!wallets.has(intent.wallet)) {
      throw new CairnError("busy", "this node does not hold the wallet's record yet; send the intent again", {
        wallet: intent.wallet,
      });
    }
    await intake.insert(intent, from);
  }

  /** A person's approval, which a peer took or was told. Nobody honest hands on one whose signature does not verify. */
  async onApproval(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const { loop, intake, violation } = this.#modules;
    const signed = decodeCanonical(signedSpendApprovalSchema, payload);
    try {
      await intake.takeApproval(signed, from);
    } catch (error) {
      if (isCairnError(error, "signature-invalid")) {
        await loop.run((batch) =>
          violation(batch, { type: "InvalidSignature", node: from, evidence: null }, signed.body.requestHash),
        );
      }
      throw error;
    }
  }

  async onVote(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const { loop, live, faulty } = this.#modules;
    const vote = decodeVote(payload);
    const hash = vote.body.intentHash;
    const { manifest, manifestHash } = this.#options.book.under(vote.body.manifestHash);
    if (!(await this.#isGenuine(from, hash, () => verifyVote(vote, manifest, manifestHash)))) return;
    const known = faulty.has(hash);
    if (known) await loop.run((batch) => faulty.accuse(batch, hash, vote));
    // What was refused on arrival is not voted on; what was stored first is, so that its rejections end it.
    if (!known || live.has(hash)) await this.#feed(hash, from, { kind: "vote", from, vote });
    await this.#tellWhoLags(from, hash, vote.body.round);
  }

  async onDeferral(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const deferral = decodeCanonical(deferralSchema, payload);
    await this.#feed(deferral.intentHash, from, { kind: "deferral", from, deferral });
    await this.#tellWhoLags(from, deferral.intentHash, deferral.round);
  }

  async onVoid(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const signed = decodeCanonical(signedVoidSchema, payload);
    const hash = signed.body.intentHash;
    const { manifest, manifestHash } = this.#options.book.under(signed.body.manifestHash);
    if (!(await this.#isGenuine(from, hash, () => verifyVoid(signed, manifest, manifestHash)))) return;
    await this.#feed(hash, from, { kind: "void", from, void: signed });
    await this.#modules.signatures.answer(from, hash);
  }

  async onCertificate(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const certificate = decodeCanonical(certificateSchema, payload);
    await this.#feed(certificate.intentHash, from, { kind: "certificate", from, certificate });
    // Who holds the signatures as well hands its certificate to nobody that approved.
    await this.#modules.signatures.answer(from, certificate.intentHash);
  }

  /** Who votes anew has not seen the first round's certificate, since others kept votes from it: it may lack signatures that are there. */
  async #tellWhoLags(node: NodeIndex, hash: IntentHash, round: number): Promise<void> {
    if (round > FIRST_ROUND) await this.#modules.signatures.answer(node, hash);
  }

  /** Feeds an event to the machine of an intent; keeps it a while when the intent has not arrived yet. */
  async #feed(hash: IntentHash, from: NodeIndex, event: VotingEvent): Promise<void> {
    const { loop, live, early, voting } = this.#modules;
    if (!live.has(hash) && (await this.#isSettledOrLive(hash))) return;
    await loop.run((batch) => {
      if (live.has(hash)) voting.step(batch, hash, event);
      else early.keep(batch, hash, from, event);
    });
  }

  async #isSettledOrLive(hash: IntentHash): Promise<boolean> {
    const { live, store } = this.#modules;
    return live.has(hash) || (await store.transaction({ intent: hash })) !== null;
  }

  /** Whether a peer's signed word verifies; a signature that does not is named. @throws what else `check` throws */
  async #isGenuine(from: NodeIndex, hash: IntentHash, check: () => void): Promise<boolean> {
    try {
      check();
      return true;
    } catch (error) {
      if (!isCairnError(error, "signature-invalid")) throw error;
      await this.#modules.loop.run((batch) =>
        this.#modules.violation(batch, { type: "InvalidSignature", node: from, evidence: null }, hash),
      );
      return false;
    }
  }

  /** Whether every honest node finds the intent faulty, for ever. What may be this node's own lag is no such fault. */
  #isMalformed(intent: Intent): boolean {
    try {
      checkIntentForm(intent, this.#options.book.under(intent.manifestHash));
      return false;
    } catch (error) {
      if (!isCairnError(error)) throw error;
      return error.code !== "wrong-manifest" && error.code !== "wrong-policy";
    }
  }
}
