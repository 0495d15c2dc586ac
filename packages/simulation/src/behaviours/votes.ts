import { signedVoteSchema } from "@cairn/consensus";
import { decodeCanonical, encodeCanonical, type IntentHash, type NodeIndex } from "@cairn/core";
import { hostileVote } from "@cairn/runtime/test-support";
import type { Behaviour } from "./behaviour.ts";

/** Two votes for one intent and round, to everybody or some here and some there. */
export const doubleVote: Behaviour = (stage) => {
  const { hostile, random } = stage;
  const split = random.chance(0.5);
  hostile.rewrite = (to, said) => {
    if (said.kind !== "vote") return said;
    const { intentHash, round, approve } = decodeCanonical(signedVoteSchema, said.payload).body;
    const reason = approve ? { code: "dust", blocking: [] } : null;
    const other = hostileVote(stage, intentHash, { round, approve: !approve, reason });
    if (split) return to % 2 === 0 ? other : said;
    hostile.send(to, other);
    return said;
  };
};

/** Votes in another's name, under its own signature. */
export const voteInAnothersName: Behaviour = ({ hostile, honest, random }) => {
  const framed = random.pick(honest);
  hostile.rewrite = (_, said) => {
    if (said.kind !== "vote") return said;
    const vote = decodeCanonical(signedVoteSchema, said.payload);
    return { ...said, payload: encodeCanonical({ ...vote, body: { ...vote.body, voter: framed } }) };
  };
};

/** Approves whatever it hears of, in every round, before it has looked. */
export const approveAll: Behaviour = (stage) => {
  const { hostile, honest } = stage;
  const known = new Set<IntentHash>();
  hostile.rewrite = (_, said) => (said.kind === "vote" ? null : said);
  hostile.hear = (_, said) => {
    if (said.kind !== "vote") return;
    const { intentHash, round } = decodeCanonical(signedVoteSchema, said.payload).body;
    if (known.has(intentHash)) return;
    known.add(intentHash);
    for (const to of honest) hostile.send(to, hostileVote(stage, intentHash, { round }));
  };
};

/** Tells votes, certificates and approvals to some and not to others. */
export const halfTold: Behaviour = ({ hostile, honest, random }) => {
  const told = new Set<NodeIndex>(random.shuffle(honest).slice(0, random.between(1, 3)));
  hostile.rewrite = (to, said) =>
    ["vote", "certificate", "intent", "final", "approval"].includes(said.kind) && !told.has(to) ? null : said;
};
