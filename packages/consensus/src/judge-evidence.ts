import {
  type ErrorCode,
  isCairnError,
  type Manifest,
  type ManifestHash,
  type NodeIndex,
  provesSetBack,
  sha256Hex,
  toHex,
  verifyMemberWord,
  verifyWalletRecord,
  type WalletRecord,
} from "@cairn/core";
import { isEcdsaPartialRight, readEcdsaPublicData } from "./ecdsa-partial.ts";
import type { Evidence, ViolationType } from "./evidence.ts";
import { checkIntentForm, type Intent, intentHash } from "./intent.ts";
import { sameVote, verifyVote } from "./vote.ts";

/** Judgements that other packages' rules make. Each must answer the same for ever at every node. */
export interface EvidenceVerifiers {
  /** Protocol versions whose rules this node knows. */
  readonly protocolVersions: readonly number[];
  /** A static fault of the intent's PSBT against its request and wallet, or null: never one of chain, clock or policy state. */
  intentFault(intent: Intent, wallet: WalletRecord): ErrorCode | null;
}

export type Judgement =
  | { readonly kind: "proven"; readonly type: ViolationType; readonly node: NodeIndex }
  /** It proves nothing, and whoever handed it in could see that: the fault is the sender's. */
  | { readonly kind: "forged"; readonly reason: string }
  /** Another manifest or protocol version than this node can judge by: nobody is to blame. */
  | {
      readonly kind: "unjudgeable";
      readonly code: "wrong-manifest" | "unsupported-version";
      readonly reason: string;
    };

/** The manifest under which the fault is said to have happened. */
export interface EvidenceRules {
  readonly manifest: Manifest;
  readonly manifestHash: ManifestHash;
}

/** Judges evidence by the manifest that it names, and nothing else. Pure, and the same at every node. */
export function judgeEvidence(
  evidence: Evidence,
  rules: EvidenceRules,
  verifiers: EvidenceVerifiers,
): Judgement {
  if (evidence.manifestHash !== rules.manifestHash)
    return {
      kind: "unjudgeable",
      code: "wrong-manifest",
      reason: `it is to be judged by another manifest: ${evidence.manifestHash}`,
    };
  try {
    switch (evidence.type) {
      case "DoubleVote":
        return judgeDoubleVote(evidence, rules);
      case "MinorityVote":
        return judgeMinorityVote(evidence, rules, verifiers);
      case "Equivocation":
        return judgeEquivocation(evidence, rules.manifest);
      case "InvalidPartial":
        return judgeInvalidPartial(evidence, rules.manifest);
      case "Rollback":
        return judgeRollback(evidence, rules.manifest);
      case "FalseAccusation":
        return judgeFalseAccusation(evidence, rules, verifiers);
    }
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return forged(error.message);
  }
}

type Of<Type extends Evidence["type"]> = Extract<Evidence, { type: Type }>;

function forged(reason: string): Judgement {
  return { kind: "forged", reason };
}

function judgeDoubleVote({ votes: [a, b] }: Of<"DoubleVote">, rules: EvidenceRules): Judgement {
  verifyVote(a, rules.manifest, rules.manifestHash);
  verifyVote(b, rules.manifest, rules.manifestHash);
  if (
    a.body.voter !== b.body.voter ||
    a.body.intentHash !== b.body.intentHash ||
    a.body.round !== b.body.round
  ) {
    return forged("the votes are not of one voter, intent and round");
  }
  if (sameVote(a.body, b.body)) return forged("both votes say the same");
  return { kind: "proven", type: "DoubleVote", node: a.body.voter };
}

function judgeMinorityVote(
  { intent, wallet, vote }: Of<"MinorityVote">,
  rules: EvidenceRules,
  verifiers: EvidenceVerifiers,
): Judgement {
  verifyVote(vote, rules.manifest, rules.manifestHash);
  if (!vote.body.approve) return forged("the vote is no approval");
  if (vote.body.intentHash !== intentHash(intent)) return forged("the vote is for another intent");
  const proven: Judgement = { kind: "proven", type: "MinorityVote", node: vote.body.voter };
  if (hasFaultyForm(intent, rules)) return proven;
  if (wallet === null) return forged("the approved intent's form has no fault");
  if (wallet.record.wallet !== intent.wallet || !verifyWalletRecord(wallet, rules.manifest))
    return forged("the record is not that of the intent's wallet, signed by all nodes");
  if (!verifiers.protocolVersions.includes(intent.protocolVersion))
    return {
      kind: "unjudgeable",
      code: "unsupported-version",
      reason: "the intent is of a protocol version whose rules are not known here",
    };
  if (verifiers.intentFault(intent, wallet.record) !== null) return proven;
  return forged("the approved intent has no static fault");
}

/** Whether the intent's fault shows without its wallet's descriptor. */
function hasFaultyForm(intent: Intent, rules: EvidenceRules): boolean {
  try {
    checkIntentForm(intent, rules);
    return false;
  } catch (error) {
    if (isCairnError(error)) return true;
    throw error;
  }
}

function judgeEquivocation({ broadcasts: [a, b] }: Of<"Equivocation">, manifest: Manifest): Judgement {
  for (const broadcast of [a, b]) {
    verifyMemberWord("cairn/broadcast/v1", broadcast, broadcast.body.from, manifest);
  }
  const same =
    a.body.from === b.body.from &&
    a.body.execution === b.body.execution &&
    a.body.round === b.body.round &&
    a.body.kind === b.body.kind;
  if (!same) return forged("the broadcasts are not of one sender, execution, round and kind");
  if (a.body.digest === b.body.digest && a.body.session === b.body.session)
    return forged("both broadcasts say the same");
  return { kind: "proven", type: "Equivocation", node: a.body.from };
}

/** The accused's two words, on the public data and on its partial, contradict each other: nobody else's are needed. */
function judgeInvalidPartial(
  { partial, publicData, acceptance }: Of<"InvalidPartial">,
  manifest: Manifest,
): Judgement {
  const { body } = partial;
  verifyMemberWord("cairn/partial/v1", partial, body.from, manifest);
  verifyMemberWord("cairn/presignature-data/v1", acceptance, body.from, manifest);
  const data = readEcdsaPublicData(publicData);
  const subject: string = acceptance.body.subject;
  const fits =
    acceptance.body.node === body.from &&
    acceptance.body.publicData === sha256Hex(publicData) &&
    acceptance.body.signers.join() === data.signers.join() &&
    data.signers.includes(body.from) &&
    subject === body.presignature &&
    subject === toHex(data.id);
  if (!fits) return forged("the accused did not sign these public data for this presignature");
  if (isEcdsaPartialRight(data, body)) return forged("the partial is right");
  return { kind: "proven", type: "InvalidPartial", node: body.from };
}

function judgeRollback({ answers: [earlier, later] }: Of<"Rollback">, manifest: Manifest): Judgement {
  const { node } = earlier.body;
  for (const answer of [earlier, later]) verifyMemberWord("cairn/fence/v1", answer, node, manifest);
  if (provesSetBack(earlier.body, later.body) === null)
    return forged("the answers do not contradict each other, or the later one does not name the earlier");
  return { kind: "proven", type: "Rollback", node };
}

function judgeFalseAccusation(
  { accusation }: Of<"FalseAccusation">,
  rules: EvidenceRules,
  verifiers: EvidenceVerifiers,
): Judgement {
  const { accuser, evidence } = accusation.body;
  verifyMemberWord("cairn/accusation/v1", accusation, accuser, rules.manifest);
  const judgement = judgeEvidence(evidence, rules, verifiers);
  switch (judgement.kind) {
    case "proven":
      return forged("the accusation is true");
    case "forged":
      return { kind: "proven", type: "FalseAccusation", node: accuser };
    case "unjudgeable":
      return judgement;
  }
}
