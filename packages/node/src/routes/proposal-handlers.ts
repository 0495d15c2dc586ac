import type { ProposalView } from "@cairn/client";
import {
  CairnError,
  changeOperation,
  decodeCanonical,
  hashHexSchema,
  type Manifest,
  type ManifestHash,
  signatureHexSchema,
  signedChangeProposalSchema,
} from "@cairn/core";
import type { ChangeProgress, KeyProgress } from "@cairn/runtime";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";
import { timeText, timeTextOrNull } from "../time-text.ts";

/** Endpoints of what operators decide together: changes of the cluster, and keys. */
export function proposalHandlers({
  node: { changes, keys, manifests },
}: ApiModules): Pick<
  Handlers,
  "createProposal" | "listProposals" | "getProposal" | "signProposal" | "refuseProposal"
> {
  const under = (hash: ManifestHash): Manifest => {
    const link = manifests.chain().find(({ manifestHash }) => manifestHash === hash);
    if (link !== undefined) return link.manifest;
    throw new CairnError("wrong-manifest", "the proposal names a manifest that this node does not know", {
      named: hash,
    });
  };
  const change = (progress: ChangeProgress) => changeView(progress, under(progress.signed.body.manifestHash));
  const key = (progress: KeyProgress) => keygenView(progress, under(progress.request.body.manifest));
  const keyOf = (id: string) => keys.list().find(({ row }) => row.keyId === id);

  return {
    createProposal: async ({ body }) =>
      change(
        await changes.propose(
          decodeCanonical(signedChangeProposalSchema, Buffer.from(body.proposal, "base64")),
        ),
      ),
    listProposals: async ({ query: { state, limit } }) => ({
      proposals: [...changes.list().map(change), ...keys.list().map(key)]
        .filter((view) => state === undefined || view.state === state)
        .toSorted((a, b) => newestFirst(a, b))
        .slice(0, limit),
    }),
    getProposal: async ({ params }) => {
      const found = keyOf(params.proposal);
      return found === undefined ? change(changes.get(hashHexSchema.parse(params.proposal))) : key(found);
    },
    signProposal: async ({ params, body }) => {
      if (keyOf(params.proposal) !== undefined) {
        throw new CairnError(
          "wrong-state",
          "nodes approve a key by themselves once one operator has signed its request; `cairn proposal refuse` stops it",
          { proposal: params.proposal },
        );
      }
      return change(
        await changes.sign(hashHexSchema.parse(params.proposal), signatureHexSchema.parse(body.signature)),
      );
    },
    refuseProposal: async ({ params }) => {
      const found = keyOf(params.proposal);
      return found === undefined
        ? change(await changes.refuse(hashHexSchema.parse(params.proposal)))
        : key(await keys.refuse(found.row.keyId));
    },
  };
}

function changeView(
  { row, signed: { body }, votes, needed }: ChangeProgress,
  manifest: Manifest,
): ProposalView {
  return {
    proposal: row.proposal,
    type: row.type,
    state: row.state,
    mode: manifest.modes[changeOperation(body.change, manifest)],
    manifestHash: body.manifestHash,
    operator: body.operator,
    createdAt: timeText(row.createdAt),
    expiry: timeText(row.expiry),
    firstSeenAt: timeText(row.firstSeenAt),
    effectiveAt: timeTextOrNull(row.effectiveAt),
    needed,
    votes: wordsIn([...votes.values()]),
    body: Buffer.from(row.body).toString("base64"),
  };
}

function keygenView({ row, request, standing, approvals }: KeyProgress, manifest: Manifest): ProposalView {
  const { body } = request;
  return {
    proposal: row.keyId,
    type: "keygen",
    state: standing,
    mode: manifest.modes.keygen,
    manifestHash: body.manifest,
    operator: body.operator,
    createdAt: timeText(body.createdAt),
    expiry: timeText(body.expiry),
    firstSeenAt: timeText(row.createdAt),
    effectiveAt: timeTextOrNull(standing === "in-force" ? row.updatedAt : null),
    needed: body.total,
    votes: wordsIn(approvals),
    body: Buffer.from(row.request).toString("base64"),
  };
}

function wordsIn(signed: readonly { readonly body: ProposalView["votes"][number] }[]): ProposalView["votes"] {
  return signed
    .map(({ body: { node, approve, reason } }) => ({ node, approve, reason }))
    .toSorted((a, b) => a.node - b.node);
}

function newestFirst(a: ProposalView, b: ProposalView): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? 1 : -1;
  return a.proposal < b.proposal ? -1 : 1;
}
