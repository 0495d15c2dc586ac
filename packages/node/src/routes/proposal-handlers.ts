import type { ProposalView } from "@cairn/client";
import { decodeCanonical, hashHexSchema, signatureHexSchema, signedChangeProposalSchema } from "@cairn/core";
import type { ChangeProgress } from "@cairn/runtime";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";
import { timeText, timeTextOrNull } from "../time-text.ts";

/** Endpoints of proposed changes. */
export function proposalHandlers({
  node: { changes },
}: ApiModules): Pick<
  Handlers,
  "createProposal" | "listProposals" | "getProposal" | "signProposal" | "refuseProposal"
> {
  return {
    createProposal: async ({ body }) =>
      viewOf(
        await changes.propose(
          decodeCanonical(signedChangeProposalSchema, Buffer.from(body.proposal, "base64")),
        ),
      ),
    listProposals: async ({ query: { state, limit } }) => ({
      proposals: changes
        .list()
        .filter(({ row }) => state === undefined || row.state === state)
        .slice(0, limit)
        .map(viewOf),
    }),
    getProposal: async ({ params }) => viewOf(changes.get(hashHexSchema.parse(params.proposal))),
    signProposal: async ({ params, body }) =>
      viewOf(
        await changes.sign(hashHexSchema.parse(params.proposal), signatureHexSchema.parse(body.signature)),
      ),
    refuseProposal: async ({ params }) => viewOf(await changes.refuse(hashHexSchema.parse(params.proposal))),
  };
}

function viewOf({ row, signed: { body }, votes, needed }: ChangeProgress): ProposalView {
  return {
    proposal: row.proposal,
    type: row.type,
    state: row.state,
    manifestHash: body.manifestHash,
    operator: body.operator,
    createdAt: timeText(row.createdAt),
    expiry: timeText(row.expiry),
    firstSeenAt: timeText(row.firstSeenAt),
    effectiveAt: timeTextOrNull(row.effectiveAt),
    needed,
    votes: [...votes.values()]
      .map(({ body: { node, approve, reason } }) => ({ node, approve, reason }))
      .toSorted((a, b) => a.node - b.node),
    body: Buffer.from(row.body).toString("base64"),
  };
}
