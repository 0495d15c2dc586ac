import type { ProposalView } from "@cairn/client";
import {
  CairnError,
  type Constitution,
  changeProposalHash,
  decodeCanonical,
  keygenRequestHash,
  type SignedChangeProposal,
  type SignedKeygenRequest,
  signedChangeProposalSchema,
  signedKeygenRequestSchema,
} from "@cairn/core";
import { changeLines, changeTerms } from "../change-text.ts";
import type { ClusterAccess } from "../cluster-access.ts";
import type { CommandContext } from "../command-context.ts";

/** Prints exactly what a proposal changes, computed here, and who has said what of it. */
export function printProposal(
  { output }: CommandContext,
  view: ProposalView,
  { body }: SignedChangeProposal,
  inForce: Constitution,
): void {
  const { body: _encoded, ...facts } = view;
  // What has been changed since is not compared with what it changed.
  const current = body.manifestHash === inForce.manifestHash;
  const changes = current ? changeLines(body.change, inForce) : null;
  output.answer({ ...facts, changes }, () => {
    output.facts([
      ["proposal", view.proposal],
      ["type", view.type],
      ["state", view.state],
      [
        "proposed by",
        inForce.manifest.members.find(({ operator }) => operator === view.operator)?.name ?? view.operator,
      ],
      ...(current ? changeTerms(body.change, inForce) : []),
      ["mode", view.mode],
      ["approved", `${view.votes.filter(({ approve }) => approve).length} of ${view.needed}`],
      ["expires", view.expiry],
      ["effect here", view.effectiveAt ?? "once enough have approved"],
    ]);
    printWords(output, view);
    if (changes === null) return;
    output.line("");
    output.table(
      ["field", "in force", "proposed"],
      changes.map(({ field, from, to }) => [field, from, to]),
    );
  });
}

/** Prints a change or a key's request, once it is the one that its id names. */
export async function printFound(
  context: CommandContext,
  access: ClusterAccess,
  view: ProposalView,
): Promise<void> {
  const inForce = await access.constitution();
  if (view.type === "keygen") printKeygen(context, view, checkKeygen(view), inForce);
  else printProposal(context, view, checkProposal(view), inForce);
}

function printKeygen(
  { output }: CommandContext,
  view: ProposalView,
  { body }: SignedKeygenRequest,
  { manifest }: Constitution,
): void {
  const { body: _encoded, ...facts } = view;
  output.answer({ ...facts, request: body }, () => {
    output.facts([
      ["proposal", view.proposal],
      ["type", view.type],
      ["state", view.state],
      [
        "proposed by",
        manifest.members.find(({ operator }) => operator === body.operator)?.name ?? body.operator,
      ],
      ["key", `${body.protocol}, ${body.threshold} of ${body.total}`],
      ["wallet", body.label],
      ["mode", view.mode],
      [
        "approved",
        `${view.votes.filter(({ approve }) => approve).length} of ${view.needed} nodes: each holds a share, so all must`,
      ],
      ["expires", new Date(body.expiry).toISOString()],
      ["effect here", view.effectiveAt ?? "once all have made it; `cairn dkg status` says how far it is"],
    ]);
    printWords(output, view);
  });
}

function printWords(output: CommandContext["output"], { votes }: ProposalView): void {
  if (votes.length === 0) return;
  output.line("");
  output.table(
    ["node", "word", "reason"],
    votes.map(({ node, approve, reason }) => [String(node), approve ? "approves" : "refuses", reason ?? ""]),
  );
}

function checkKeygen(view: ProposalView): SignedKeygenRequest {
  const signed = decodeCanonical(signedKeygenRequestSchema, Buffer.from(view.body, "base64"));
  if ((keygenRequestHash(signed.body) as string) === view.proposal) return signed;
  throw anotherProposal(view);
}

/** The proposal itself, once it is the one that its id names. @throws CairnError `peer-disagrees` */
export function checkProposal(view: ProposalView): SignedChangeProposal {
  const signed = decodeCanonical(signedChangeProposalSchema, Buffer.from(view.body, "base64"));
  if (changeProposalHash(signed.body) === view.proposal) return signed;
  throw anotherProposal(view);
}

function anotherProposal({ proposal }: ProposalView): CairnError {
  return new CairnError(
    "peer-disagrees",
    "the node shows another change under that proposal's id; ask another node with --endpoint URL",
    { proposal },
  );
}
