import { z } from "zod";
import { banLiftSchema, checkBanLift } from "./ban-lift.ts";
import type { DomainTag } from "./domain.ts";
import { CairnError } from "./error.ts";
import { type Signer, verifySignature } from "./identity.ts";
import {
  clusterIdSchema,
  ed25519PublicKeySchema,
  type HashHex,
  hashHexSchema,
  manifestHashSchema,
  nodeIndexSchema,
  type SignatureHex,
  signatureHexSchema,
  type UnixMs,
  unixMsSchema,
} from "./ids.ts";
import { checkKeyRefresh, keyRefreshSchema } from "./key-refresh.ts";
import { loosens } from "./loosening.ts";
import {
  administrativeQuorum,
  type Manifest,
  type ManifestInForce,
  manifestSchema,
  memberOf,
  type SignedManifest,
} from "./manifest.ts";
import { verifyManifestWord } from "./member-word.ts";
import { type Policy, policyHash, policySchema } from "./policy-document.ts";
import { bodyHash, type Signed, signBody, signedSchema, verifySigned } from "./signed.ts";
import { MAX_REQUEST_LIFETIME_MS } from "./spend-request.ts";
import { checkSuccessor, successorMode } from "./successor.ts";

/** What is to change. Operators sign what is inside (the whole successor manifest, the lift or the refresh), under its own tag. */
export const changeSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("manifest"),
    manifest: manifestSchema,
    /** The document that the new manifest pins; null where it pins the same as before. */
    policy: policySchema.nullable(),
  }),
  z.strictObject({ type: z.literal("ban-lift"), lift: banLiftSchema }),
  z.strictObject({ type: z.literal("refresh"), refresh: keyRefreshSchema }),
]);
export type Change = z.output<typeof changeSchema>;

/**
 * Proposes a change to all nodes, signed by one operator under `cairn/change/v1`. Each node votes for it only with its own operator's
 * signature on exactly this change; a quorum of votes commits it, and it takes effect at the time that stands in it.
 */
export const changeProposalSchema = z
  .strictObject({
    version: z.literal(1),
    cluster: clusterIdSchema,
    /** The manifest in force, which is what the change differs from. */
    manifestHash: manifestHashSchema,
    change: changeSchema,
    createdAt: unixMsSchema,
    /** After this time no node votes for it. */
    expiry: unixMsSchema,
    /** The operator key that signs. */
    operator: ed25519PublicKeySchema,
  })
  .refine(
    ({ createdAt, expiry }) => expiry > createdAt && expiry - createdAt <= MAX_REQUEST_LIFETIME_MS,
    "the proposal must expire after its creation, within seven days",
  );
export type ChangeProposal = z.output<typeof changeProposalSchema>;

export const signedChangeProposalSchema = signedSchema(changeProposalSchema);
export type SignedChangeProposal = Signed<ChangeProposal>;

export function signChangeProposal(proposal: ChangeProposal, operator: Signer): SignedChangeProposal {
  return signBody("cairn/change/v1", proposal, operator);
}

/** Names a proposal: what votes are for. */
export function changeProposalHash(proposal: ChangeProposal): HashHex {
  return bodyHash<HashHex>("cairn/change/v1", proposal);
}

/** A node's word on a proposal, signed under `cairn/change-vote/v1`. */
export const changeVoteSchema = z
  .strictObject({
    version: z.literal(1),
    cluster: clusterIdSchema,
    manifestHash: manifestHashSchema,
    /** The proposal's hash. */
    proposal: hashHexSchema,
    node: nodeIndexSchema,
    approve: z.boolean(),
    /** Error code of the refusal; null exactly for approvals. */
    reason: z.string().min(1).max(64).nullable(),
    /** The voter's own operator's signature on the change; null exactly for refusals. */
    operatorSignature: signatureHexSchema.nullable(),
  })
  .refine(
    (vote) => vote.approve === (vote.reason === null) && vote.approve === (vote.operatorSignature !== null),
    "a refusal has a reason, an approval its operator's signature instead",
  );
export type ChangeVote = z.output<typeof changeVoteSchema>;

export const signedChangeVoteSchema = signedSchema(changeVoteSchema);
export type SignedChangeVote = Signed<ChangeVote>;

export function signChangeVote(vote: ChangeVote, node: Signer): SignedChangeVote {
  return signBody("cairn/change-vote/v1", vote, node);
}

/** A proposal with the approvals of a quorum, ascending by node: proves itself to whoever holds the manifest that it changes. */
export const changeCommitSchema = z.strictObject({
  version: z.literal(1),
  proposal: signedChangeProposalSchema,
  votes: z.array(signedChangeVoteSchema).min(1).max(255),
});
export type ChangeCommit = z.output<typeof changeCommitSchema>;

/** An operator's consent to exactly this change: what stands among the signatures of the new manifest or of the lift. */
export function signChange(change: Change, operator: Signer): SignatureHex {
  const { tag, body } = signedPart(change);
  return operator.sign(tag, body);
}

function signedPart(change: Change): { readonly tag: DomainTag; readonly body: unknown } {
  switch (change.type) {
    case "manifest":
      return { tag: "cairn/manifest/v1", body: change.manifest };
    case "ban-lift":
      return { tag: "cairn/ban/v1", body: change.lift };
    case "refresh":
      return { tag: "cairn/key-refresh/v1", body: change.refresh };
  }
}

/** The manifest in force and the document that it pins. */
export interface Constitution extends ManifestInForce {
  readonly policy: Policy;
}

/**
 * What holds for a proposal at every node and for ever: it is of this cluster and manifest, one of its operators signed it, and the change
 * could take effect as it is.
 * @throws CairnError `wrong-cluster`, `wrong-manifest`, `operator-signature-missing`, `wrong-policy`, `not-yet-valid` (too early an effect
 * for what loosens)
 */
export function verifyChangeProposal(signed: SignedChangeProposal, inForce: Constitution): void {
  const { body } = signed;
  const { manifest } = inForce;
  if (body.cluster !== manifest.cluster)
    throw new CairnError("wrong-cluster", "the proposal is for another cluster");
  if (body.manifestHash !== inForce.manifestHash) {
    throw new CairnError("wrong-manifest", "the proposal changes another manifest than the one in force");
  }
  const operates = manifest.members.some((member) => member.operator === body.operator);
  if (!operates || !verifySigned("cairn/change/v1", signed, body.operator)) {
    throw new CairnError("operator-signature-missing", "no operator of the manifest signed the proposal", {
      operator: body.operator,
    });
  }
  switch (body.change.type) {
    case "manifest": {
      const { policy, manifest: next } = body.change;
      const fits =
        policy === null
          ? next.policy === manifest.policy
          : policyHash(policy) === next.policy && policyHash(policy) !== manifest.policy;
      if (!fits) {
        throw new CairnError(
          "wrong-policy",
          "the proposal does not carry the document that its manifest pins",
        );
      }
      const document = policy ?? inForce.policy;
      if (next.policyVersion !== document.policyVersion || next.policyDelayMs !== document.delayMs) {
        throw new CairnError("wrong-policy", "version or delay of the policy are not the manifest's", {
          policyVersion: next.policyVersion,
          policyDelayMs: next.policyDelayMs,
        });
      }
      checkSuccessor(manifest, next, loosens(manifest, next, { current: inForce.policy, next: document }));
      return;
    }
    case "ban-lift":
      checkBanLift(body.change.lift, inForce);
      return;
    case "refresh":
      checkKeyRefresh(body.change.refresh, inForce);
      return;
  }
}

/**
 * Checks a node's word on `proposal`, an approval's operator signature included.
 * @throws CairnError `wrong-cluster`, `wrong-manifest`, `wrong-state` (another proposal), `not-member`, `signature-invalid`,
 * `operator-signature-missing`
 */
export function verifyChangeVote(
  signed: SignedChangeVote,
  proposal: ChangeProposal,
  { manifest, manifestHash }: ManifestInForce,
): void {
  const { body } = signed;
  verifyManifestWord("cairn/change-vote/v1", signed, body.node, manifest, manifestHash);
  if (body.proposal !== changeProposalHash(proposal)) {
    throw new CairnError("wrong-state", "the vote is for another proposal", { node: body.node });
  }
  if (!body.approve) return;
  const { tag, body: change } = signedPart(proposal.change);
  const { operator } = memberOf(manifest, body.node);
  if (body.operatorSignature === null || !verifySignature(tag, change, operator, body.operatorSignature)) {
    throw new CairnError("operator-signature-missing", "the vote lacks its own operator's signature", {
      node: body.node,
    });
  }
}

/** Votes that commit `change`: the manifest's mode for it, and never so few that two quorums share no honest node. */
export function changeQuorum(change: Change, { manifest }: ManifestInForce): number {
  return administrativeQuorum(manifest.modes[changeOperation(change, manifest)], manifest.members.length);
}

/** The operation whose mode a change is decided in. */
export function changeOperation(change: Change, manifest: Manifest): keyof Manifest["modes"] {
  switch (change.type) {
    case "manifest":
      return successorMode(manifest, change.manifest);
    case "ban-lift":
      return "manifest";
    case "refresh":
      return "refresh";
  }
}

/**
 * The commit of exactly a quorum of approvals (the lowest nodes), or null while there are too few.
 * @param votes verified for this proposal, at most one a node
 */
export function formChangeCommit(
  proposal: SignedChangeProposal,
  votes: readonly SignedChangeVote[],
  inForce: ManifestInForce,
): ChangeCommit | null {
  const needed = changeQuorum(proposal.body.change, inForce);
  const chosen = votes
    .filter((vote) => vote.body.approve)
    .toSorted((a, b) => a.body.node - b.body.node)
    .slice(0, needed);
  return chosen.length < needed ? null : { version: 1, proposal, votes: chosen };
}

/**
 * Checks a commit offline: the proposal, and the approvals of a quorum of nodes, each with its operator's signature.
 * @throws CairnError the codes of {@link verifyChangeProposal} and {@link verifyChangeVote}, `certificate-invalid` (refusals, or not
 * ascending), `quorum-missing`
 */
export function verifyChangeCommit(commit: ChangeCommit, inForce: Constitution): void {
  const { proposal, votes } = commit;
  verifyChangeProposal(proposal, inForce);
  const ordered = votes.every(({ body }, at) => body.approve && body.node > (votes[at - 1]?.body.node ?? 0));
  if (!ordered) {
    throw new CairnError("certificate-invalid", "a commit holds approvals alone, ascending, one a node");
  }
  for (const vote of votes) verifyChangeVote(vote, proposal.body, inForce);
  const needed = changeQuorum(proposal.body.change, inForce);
  if (votes.length < needed) {
    throw new CairnError("quorum-missing", `${votes.length} nodes approved the change; it needs ${needed}`, {
      approved: votes.length,
      needed,
    });
  }
}

/** The operators' signatures that a verified commit holds, as they stand in a signed manifest or ban lift. */
export function operatorSignaturesOf(
  commit: ChangeCommit,
  { manifest }: ManifestInForce,
): SignedManifest["signatures"] {
  return commit.votes.flatMap(({ body: { node, operatorSignature } }) =>
    operatorSignature === null
      ? []
      : [{ operator: memberOf(manifest, node).operator, signature: operatorSignature }],
  );
}

/**
 * When a committed change takes effect at a node: not before the time that stands in it, and not before people could have noticed it
 * since the node first saw it, since times that operators write may lie in the past.
 */
export function changeEffectiveAt(change: Change, firstSeenAt: UnixMs, inForce: Constitution): UnixMs {
  const { manifest } = inForce;
  const noticed = firstSeenAt + manifest.changeDelayMs;
  switch (change.type) {
    case "manifest": {
      const policies = { current: inForce.policy, next: change.policy ?? inForce.policy };
      const earliest = loosens(manifest, change.manifest, policies) ? noticed : firstSeenAt;
      return Math.max(change.manifest.effectiveAt, earliest) as UnixMs;
    }
    case "ban-lift":
      return Math.max(change.lift.effectiveAt, noticed) as UnixMs;
    case "refresh":
      // Nothing is allowed that was not: whoever holds an old share loses by it, and at once is best.
      return firstSeenAt;
  }
}
