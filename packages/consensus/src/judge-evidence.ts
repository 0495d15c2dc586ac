import {
  type ErrorCode,
  isCairnError,
  type Manifest,
  type ManifestHash,
  memberOf,
  type NodeIndex,
  sha256Hex,
  verifyMemberWord,
  verifySigned,
} from "@cairn/core";
import type { Evidence, ViolationType } from "./evidence.ts";
import { checkIntentForm, type Intent, intentHash } from "./intent.ts";
import type { SignedPartial } from "./signed-partial.ts";
import { sameVote, verifyVote } from "./vote.ts";

/** Judgements that other packages' mathematics make. Each must answer the same for ever at every node. */
export interface EvidenceVerifiers {
  /** Protocol versions whose rules this node knows. */
  readonly protocolVersions: readonly number[];
  /** A static fault of the intent's PSBT against its request, or null: never one of chain, clock or policy state. */
  intentFault(intent: Intent): ErrorCode | null;
  /** Whether the partial is right against the public data; null when this node cannot tell. */
  partialValid(partial: SignedPartial["body"], publicData: Uint8Array): boolean | null;
}

export type Judgement =
  | { readonly kind: "proven"; readonly type: ViolationType; readonly node: NodeIndex }
  /** It proves nothing, and whoever handed it in could see that: the fault is the sender's. */
  | { readonly kind: "forged"; readonly reason: string }
  /** Another manifest or protocol version than this node can judge by: nobody is to blame. */
  | { readonly kind: "unjudgeable"; readonly reason: string };

/** Judges evidence by the manifest under which the fault is said to have happened. Pure, and the same at every node. */
export function judgeEvidence(
  evidence: Evidence,
  rules: { readonly manifest: Manifest; readonly manifestHash: ManifestHash },
  verifiers: EvidenceVerifiers,
): Judgement {
  try {
    switch (evidence.type) {
      case "DoubleVote":
        return judgeDoubleVote(evidence, rules);
      case "MinorityVote":
        return judgeMinorityVote(evidence, rules, verifiers);
      case "Equivocation":
        return judgeEquivocation(evidence, rules.manifest);
      case "InvalidPartial":
        return judgeInvalidPartial(evidence, rules.manifest, verifiers);
    }
  } catch (error) {
    if (!isCairnError(error)) throw error;
    if (error.code === "wrong-manifest") return { kind: "unjudgeable", reason: error.message };
    return { kind: "forged", reason: error.message };
  }
}

type Rules = { readonly manifest: Manifest; readonly manifestHash: ManifestHash };
type Of<Type extends Evidence["type"]> = Extract<Evidence, { type: Type }>;

function judgeDoubleVote({ votes: [a, b] }: Of<"DoubleVote">, rules: Rules): Judgement {
  verifyVote(a, rules.manifest, rules.manifestHash);
  verifyVote(b, rules.manifest, rules.manifestHash);
  if (
    a.body.voter !== b.body.voter ||
    a.body.intentHash !== b.body.intentHash ||
    a.body.round !== b.body.round
  ) {
    return { kind: "forged", reason: "the votes are not of one voter, intent and round" };
  }
  if (sameVote(a.body, b.body)) return { kind: "forged", reason: "both votes say the same" };
  return { kind: "proven", type: "DoubleVote", node: a.body.voter };
}

function judgeMinorityVote(
  { intent, vote }: Of<"MinorityVote">,
  rules: Rules,
  verifiers: EvidenceVerifiers,
): Judgement {
  verifyVote(vote, rules.manifest, rules.manifestHash);
  if (!vote.body.approve) return { kind: "forged", reason: "the vote is no approval" };
  if (vote.body.intentHash !== intentHash(intent))
    return { kind: "forged", reason: "the vote is for another intent" };
  const proven: Judgement = { kind: "proven", type: "MinorityVote", node: vote.body.voter };
  if (staticFault(intent, rules)) return proven;
  if (!verifiers.protocolVersions.includes(intent.protocolVersion)) {
    return {
      kind: "unjudgeable",
      reason: "the intent is of a protocol version that this node does not speak",
    };
  }
  if (verifiers.intentFault(intent) !== null) return proven;
  return { kind: "forged", reason: "the approved intent has no static fault" };
}

function staticFault(intent: Intent, rules: Rules): boolean {
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
  if (!same)
    return { kind: "forged", reason: "the broadcasts are not of one sender, execution, round and kind" };
  if (a.body.digest === b.body.digest && a.body.session === b.body.session) {
    return { kind: "forged", reason: "both broadcasts say the same" };
  }
  return { kind: "proven", type: "Equivocation", node: a.body.from };
}

function judgeInvalidPartial(
  { partial, publicData, acceptances }: Of<"InvalidPartial">,
  manifest: Manifest,
  verifiers: EvidenceVerifiers,
): Judgement {
  const { body } = partial;
  verifyMemberWord("cairn/partial/v1", partial, body.from, manifest);
  const digest = sha256Hex(publicData);
  const subject: string = body.presignature ?? body.execution;
  const signers = acceptances.map((acceptance) => acceptance.body.node);
  for (const acceptance of acceptances) {
    const { node } = acceptance.body;
    const fits =
      acceptance.body.cluster === manifest.cluster &&
      acceptance.body.subject === subject &&
      acceptance.body.publicData === digest &&
      acceptance.body.signers.join() === signers.join() &&
      verifySigned("cairn/presignature-data/v1", acceptance, memberOf(manifest, node).identity);
    if (!fits)
      return { kind: "forged", reason: `node ${node} did not sign these public data for this signer set` };
  }
  if (!signers.includes(body.from))
    return { kind: "forged", reason: "the accused did not sign the public data" };
  const valid = verifiers.partialValid(body, publicData);
  if (valid === null) return { kind: "unjudgeable", reason: "this node cannot check partials of this kind" };
  if (valid) return { kind: "forged", reason: "the partial is right" };
  return { kind: "proven", type: "InvalidPartial", node: body.from };
}
