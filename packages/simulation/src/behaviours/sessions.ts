import { signBroadcast } from "@cairn/consensus";
import { type NodeIndex, type PeerMessage, type PresignatureId, sha256Hex, signBody } from "@cairn/core";
import { bent, hostileMessage } from "@cairn/runtime/test-support";
import { decodeSessionMessage, encodeSessionMessage, makeProposal, type Proposal } from "@cairn/signing";
import type { Behaviour } from "./behaviour.ts";

type Broadcast = Parameters<typeof signBroadcast>[0];

/** Two different signed broadcasts of one round. */
export const equivocate: Behaviour = ({ hostile, signer, random }) => {
  const toBoth = random.chance(0.5);
  hostile.rewrite = (to, said) => {
    if (said.kind !== "round" || said.session === null) return said;
    const decoded = decodeSessionMessage("round", said.payload);
    if (decoded.kind !== "round" || decoded.content.type !== "broadcast") return said;
    const payload = bent(decoded.content.payload);
    const body: Broadcast = {
      ...decoded.content.signed.body,
      digest: sha256Hex(payload) as Broadcast["digest"],
    };
    const content = { type: "broadcast", signed: signBroadcast(body, signer), payload } as const;
    const again = { ...said, payload: encodeSessionMessage({ kind: "round", content }) };
    if (!toBoth) return to % 2 === 0 ? again : said;
    hostile.send(to, again);
    return said;
  };
};

/** Its engine says what fails its checks. */
export const badRound: Behaviour = ({ hostile, random }) => {
  const round = random.between(1, 3);
  hostile.say = (_, said) => (said.round === round ? { ...said, payload: bent(said.payload, 3) } : said);
};

/** Its partials are wrong. */
export const badPartial: Behaviour = ({ hostile }) => {
  hostile.partial = (partial) => bent(partial, 2);
};

/** Acknowledges, and says nothing in rounds. */
export const silentInRounds: Behaviour = ({ hostile }) => {
  hostile.rewrite = (_, said) => (said.kind === "round" || said.kind === "partial" ? null : said);
};

/** Takes part, and keeps from all or some that a signature was made. */
export const withheldFinal: Behaviour = ({ hostile, random }) => {
  const all = random.chance(0.5);
  const kinds: ReadonlySet<string> = new Set(["final", "finalize", "abort"]);
  hostile.rewrite = (to, said) => (kinds.has(said.kind) && (all || to % 2 === 0) ? null : said);
};

/** As initiator tells two different Starts. */
export const twoStarts: Behaviour = ({ hostile, signer, random }) => {
  hostile.rewrite = (to, said) => {
    if (said.kind !== "start" || to % 2 === 0) return said;
    const decoded = decodeSessionMessage("start", said.payload);
    if (decoded.kind !== "start") return said;
    const acks = decoded.signed.body.acks.map((ack) => {
      if (ack.body.node !== hostile.index) return ack;
      const nonce = random.fork(`nonce/${said.session}`).hex(32) as typeof ack.body.nonce;
      return signBody("cairn/ack/v1", { ...ack.body, nonce }, signer);
    });
    const signed = signBody("cairn/start/v1", { ...decoded.signed.body, acks }, signer);
    return { ...said, payload: encodeSessionMessage({ kind: "start", signed }) };
  };
};

/** As initiator names other presignatures to one signer than to the rest. */
export const mixedPresignatures: Behaviour = ({ hostile, signer }) => {
  const seen = new Set<PresignatureId>();
  const proposalIn = (said: PeerMessage): Proposal | null => {
    if (said.kind !== "proposal") return null;
    const decoded = decodeSessionMessage("proposal", said.payload);
    if (decoded.kind !== "proposal" || decoded.signed.body.purpose !== "sign") return null;
    for (const id of decoded.signed.body.items ?? []) seen.add(id);
    return decoded.signed.body;
  };
  hostile.hear = (_, said) => void proposalIn(said);
  hostile.rewrite = (to, said) => {
    const proposal = proposalIn(said);
    const items = proposal?.items ?? [];
    const others = [...seen].filter((id) => !items.includes(id));
    if (proposal === null || items.length === 0 || to % 2 === 0 || others.length < items.length) return said;
    const body: Proposal = { ...proposal, items: others.slice(-items.length) };
    const signed = signBody("cairn/proposal/v1", body, signer);
    return { ...said, payload: encodeSessionMessage({ kind: "proposal", signed }) };
  };
};

/** Proposes out of turn, for subsets and grants of its own making, again and again. */
export const proposalFlood: Behaviour = ({ hostile, honest, manifest, signer, random, after }) => {
  let grant: Proposal["subject"] | null = null;
  hostile.hear = (_, said) => {
    if (said.kind !== "proposal") return;
    const decoded = decodeSessionMessage("proposal", said.payload);
    if (decoded.kind === "proposal") grant = decoded.signed.body.subject;
  };
  const propose = (): void => {
    const others = random.shuffle(honest).slice(0, 3);
    const proposal = makeProposal({
      cluster: manifest.cluster,
      purpose: "sign",
      subject: grant !== null && random.chance(0.7) ? grant : (random.hex(32) as Proposal["subject"]),
      stage: null,
      job: null,
      attempt: random.below(8),
      initiator: hostile.index,
      signers: [...others, hostile.index].toSorted((a, b) => a - b),
      protocolVersion: 1,
      items: null,
    });
    const signed = signBody("cairn/proposal/v1", proposal, signer);
    const payload = encodeSessionMessage({ kind: "proposal", signed });
    for (const to of honest) hostile.send(to, hostileMessage("proposal", payload, proposal.sessionId));
    after(random.between(200, 2_000), propose);
  };
  after(1_000, propose);
};

/** Hands in others' proposals under its own envelope. */
export const stolenProposals: Behaviour = ({ hostile, honest }) => {
  hostile.hear = (from: NodeIndex, said: PeerMessage) => {
    if (said.kind !== "proposal" && said.kind !== "start" && said.kind !== "ack") return;
    for (const to of honest) if (to !== from) hostile.send(to, said);
  };
};
