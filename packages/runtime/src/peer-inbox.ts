import {
  CairnError,
  type ErrorCode,
  isCairnError,
  type MessageKind,
  type NodeIndex,
  type PeerMessage,
  type Signer,
} from "@cairn/core";
import { decodeSessionMessage, type SignedProposal } from "@cairn/signing";
import type { BackupDesk } from "./backup-desk.ts";
import type { BanDesk } from "./ban-desk.ts";
import type { ChangeCatchUp } from "./change-catch-up.ts";
import type { ChangeDesk } from "./change-desk.ts";
import type { CheckpointDesk } from "./checkpoint-desk.ts";
import type { FenceDesk } from "./fence-desk.ts";
import type { KeygenDesk } from "./keygen-desk.ts";
import type { Loop } from "./loop.ts";
import type { PresignDesk } from "./presign-desk.ts";
import { nackCodeOf, sendNack } from "./send-nack.ts";
import type { SessionDesk } from "./session-desk.ts";
import type { SignDesk } from "./sign-desk.ts";
import type { SpendDesk } from "./spend-desk.ts";
import type { SyncAnswers } from "./sync-answers.ts";
import type { SyncQuestions } from "./sync-questions.ts";

export interface PeerInboxModules {
  readonly loop: Loop;
  readonly fence: FenceDesk;
  readonly checkpoints: CheckpointDesk;
  readonly signer: Signer;
  readonly backups: BackupDesk;
  readonly bans: BanDesk;
  readonly changes: ChangeDesk;
  readonly catchUp: Pick<ChangeCatchUp, "asksFor">;
  readonly questions: SyncQuestions;
  readonly answers: SyncAnswers;
  readonly spends: SpendDesk;
  readonly keys: KeygenDesk;
  readonly presignatures: PresignDesk;
  readonly sessions: SessionDesk;
  readonly signing: SignDesk;
  readonly report: (cause: unknown) => void;
}

const temporaryCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "busy",
  "closed",
  "storage-full",
  "storage-failed",
  "chain-unavailable",
  "wrong-policy",
  "clock-skew",
  "rolled-back",
]);

/** What is taken from a peer that was set back: whatever shows that it is so no more. */
const fenceKinds: ReadonlySet<MessageKind> = new Set<MessageKind>(["fence-challenge", "fence-answer"]);

/** Hands each message of a peer to the desk that it concerns. */
export class PeerInbox {
  readonly #me: NodeIndex;
  readonly #modules: PeerInboxModules;

  constructor(me: NodeIndex, modules: PeerInboxModules) {
    this.#me = me;
    this.#modules = modules;
  }

  /** Resolves for what is refused for good, too; a rejection asks the sender for another delivery. */
  async onMessage(from: NodeIndex, message: PeerMessage): Promise<void> {
    try {
      this.#modules.bans.refuseBanned(from);
      if (!fenceKinds.has(message.kind)) this.#modules.fence.refuseSetBack(from);
      await this.#dispatch(from, message);
    } catch (error) {
      if (!isCairnError(error) || temporaryCodes.has(error.code)) throw error;
      // What names a manifest that this node does not know can be judged once it knows it.
      if (this.#modules.catchUp.asksFor(error, from)) throw error;
      // A faulty message is recorded once and not asked for again.
      await this.#modules.loop.run((batch) =>
        batch.audit("message-refused", message.session ?? "", { from, kind: message.kind, code: error.code }),
      );
    }
  }

  async #dispatch(from: NodeIndex, message: PeerMessage): Promise<void> {
    const { answers, bans, changes, checkpoints, fence, keys, presignatures, questions, spends } =
      this.#modules;
    const { kind, payload } = message;
    switch (kind) {
      case "intent":
        return spends.inbox.onIntent(from, payload);
      case "approval":
        return spends.inbox.onApproval(from, payload);
      case "vote":
        return spends.inbox.onVote(from, payload);
      case "deferral":
        return spends.inbox.onDeferral(from, payload);
      case "void":
        return spends.inbox.onVoid(from, payload);
      case "certificate":
        return spends.inbox.onCertificate(from, payload);
      case "final":
        return spends.signatures.onFinal(from, payload);
      case "evidence":
        return bans.onEvidence(from, payload);
      case "keygen-request":
        return keys.onRequest(from, payload);
      case "keygen-approval":
        return keys.onApproval(from, payload);
      case "public-package":
        return keys.onPublicPackage(from, payload);
      case "wallet-signature":
        return keys.onWalletSignature(from, payload);
      case "checkpoint-proposal":
        return checkpoints.onProposal(from, payload);
      case "checkpoint-signature":
        return checkpoints.onSignature(from, payload);
      case "checkpoint":
        return checkpoints.onCheckpoint(payload);
      case "fence-challenge":
        return fence.onChallenge(from, payload);
      case "fence-answer":
        return fence.onAnswer(from, payload);
      case "presign-ready":
        return presignatures.onReady(from, payload);
      case "change":
        return changes.onProposal(payload);
      case "change-vote":
        return changes.onVote(payload);
      case "change-commit":
        return changes.onCommit(from, payload);
      case "verified-backup":
        return this.#modules.backups.onWord(payload);
      case "sync-request":
        return answers.onRequest(from, payload);
      case "sync-answer":
        return questions.onAnswer(from, payload);
      case "proposal":
      case "ack":
      case "nack":
      case "start":
      case "abort":
      case "round":
      case "partial":
      case "finalize":
        return this.#onSessionMessage(from, message);
      default:
        throw new CairnError("unsupported-version", "this node's software does not know the message's kind", {
          kind,
        });
    }
  }

  async #onSessionMessage(from: NodeIndex, { kind, session, payload }: PeerMessage): Promise<void> {
    const { keys, report, sessions, signing } = this.#modules;
    const message = decodeSessionMessage(kind, payload);
    if (session === null) throw new CairnError("malformed", "a session's message names no session", { kind });
    if (message.kind === "proposal") {
      if (message.signed.body.sessionId !== session) {
        throw new CairnError("malformed", "the proposal is for another session than its envelope", {
          session,
        });
      }
      // Judging a proposal may wait for a certificate or the chain: the peer's next messages must not wait with it.
      this.#onProposal(from, message.signed).catch(report);
      return;
    }
    await sessions.receive(from, session, message);
    if (message.kind === "finalize") {
      await signing.onFinalize(from, message.signed, session);
      await keys.onFinalize(from, message.signed, session);
    }
  }

  async #onProposal(from: NodeIndex, signed: SignedProposal): Promise<void> {
    const { fence, keys, presignatures, signing } = this.#modules;
    const { initiator, signers } = signed.body;
    const joins = signers.includes(this.#me);
    try {
      await fence.admit(joins ? signers : [initiator]);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      if (joins) await this.#nack(from, signed, error);
      return;
    }
    switch (signed.body.purpose) {
      case "sign":
        return signing.onProposal(from, signed);
      case "presign":
        return presignatures.onProposal(from, signed);
      case "keygen":
        return keys.onProposal(from, signed);
      case "refresh":
        throw new CairnError(
          "unsupported-version",
          "this version has no protocol that refreshes a key's shares",
        );
    }
  }

  #nack(to: NodeIndex, { body: proposal }: SignedProposal, error: CairnError): Promise<void> {
    const { loop, signer } = this.#modules;
    const { message } = error;
    return loop.run((batch) =>
      sendNack(batch, { me: this.#me, to, proposal, code: nackCodeOf(error), message }, signer),
    );
  }
}
