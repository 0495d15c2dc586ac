import { type Evidence, type SignedVote, signedVoteSchema, signVoid } from "@cairn/consensus";
import {
  CairnError,
  decodeCanonical,
  encodeCanonical,
  type IntentHash,
  manifestHash,
  type PeerMessage,
} from "@cairn/core";
import { bent, hostileAccusation, hostileMessage, hostileVote } from "@cairn/runtime/test-support";
import type { Behaviour } from "./behaviour.ts";

/** Nothing comes from it any more, to all or to some. */
export const silence: Behaviour = ({ hostile, random }) => {
  const share = random.pick([1, 0.5, 0.2]);
  hostile.rewrite = (_, said) => (random.chance(share) ? null : said);
};

/** Envelopes that were altered on their way. */
export const badSignature: Behaviour = ({ hostile, honest, random }) => {
  const victims = new Set(random.shuffle(honest).slice(0, random.between(1, 4)));
  hostile.frame = (to, frame) => [victims.has(to) && random.chance(0.3) ? bent(frame, 3) : frame];
};

/** A bit of a message here and there. */
export const bitRot: Behaviour = ({ hostile, random }) => {
  hostile.rewrite = (_, said) =>
    random.chance(0.1)
      ? { ...said, payload: bent(said.payload, 1 + random.below(said.payload.length)) }
      : said;
};

/** Everything twice, and old words again later. */
export const replays: Behaviour = ({ hostile, honest, random, after }) => {
  const kept: PeerMessage[] = [];
  hostile.frame = (_, frame) => [frame, new Uint8Array(frame)];
  hostile.hear = (_, said) => {
    if (kept.length < 200) kept.push(said);
  };
  const again = (): void => {
    const said = kept.length === 0 ? null : random.pick(kept);
    if (said !== null) for (const to of honest) hostile.send(to, said);
    after(random.between(300, 2_000), again);
  };
  after(1_000, again);
};

/** Accuses honest nodes of votes that they never signed. */
export const forgedEvidence: Behaviour = (stage) => {
  const { hostile, honest } = stage;
  const accused = new Set<number>();
  hostile.hear = (from, said) => {
    if (said.kind !== "vote" || accused.has(from) || !honest.includes(from)) return;
    const real: SignedVote = decodeCanonical(signedVoteSchema, said.payload);
    if (real.body.voter !== from) return;
    accused.add(from);
    const reason = real.body.approve ? { code: "dust", blocking: [] } : null;
    const invented = { ...real, body: { ...real.body, approve: !real.body.approve, reason } };
    const evidence: Evidence = {
      type: "DoubleVote",
      version: 1,
      manifestHash: real.body.manifestHash,
      votes: [real, invented],
    };
    for (const to of honest) hostile.send(to, hostileAccusation(stage, evidence));
  };
};

/** Votes for intents that never were, and finals of junk, as many as go. */
export const flood: Behaviour = (stage) => {
  const { hostile, honest, random, after } = stage;
  const seen: IntentHash[] = [];
  hostile.hear = (_, said) => {
    if (said.kind === "vote") seen.push(decodeCanonical(signedVoteSchema, said.payload).body.intentHash);
  };
  const pour = (): void => {
    for (let count = 0; count < 15; count += 1) {
      const to = random.pick(honest);
      hostile.send(to, hostileVote(stage, random.hex(32) as IntentHash));
    }
    const intent = seen.at(-1);
    if (intent !== undefined && random.chance(0.2)) {
      const signers = [hostile.index, ...honest].slice(0, 4).toSorted((a, b) => a - b);
      const junk = { version: 1, intentHash: intent, signers, signatures: [random.bytes(64)] };
      hostile.send(random.pick(honest), hostileMessage("final", encodeCanonical(junk)));
    }
    after(1_500, pour);
  };
  after(500, pour);
};

/** Voids all that it hears of, and takes part all the same. */
export const voidAll: Behaviour = ({ hostile, honest, manifest, signer }) => {
  const done = new Set<IntentHash>();
  hostile.hear = (_, said) => {
    if (said.kind !== "vote") return;
    const { intentHash } = decodeCanonical(signedVoteSchema, said.payload).body;
    if (done.has(intentHash)) return;
    done.add(intentHash);
    const signed = signVoid(
      {
        version: 1,
        cluster: manifest.cluster,
        manifestHash: manifestHash(manifest),
        intentHash,
        node: hostile.index,
      },
      signer,
    );
    for (const to of honest) hostile.send(to, hostileMessage("void", encodeCanonical(signed)));
  };
};

/** Believes of the chain what is not so: that nothing is ever spent, or known, or deep. */
export const chainLies: Behaviour = ({ hostile, random }) => {
  const lie = random.below(3);
  const lied = <T>(answer: T): T => {
    hostile.lies += 1;
    return answer;
  };
  hostile.chain = (chain) => ({
    ...chain,
    outspend: async (outpoint) => (lie === 0 ? lied({ spent: false }) : chain.outspend(outpoint)),
    transactionStatus: async (txid) => {
      if (lie !== 1) return chain.transactionStatus(txid);
      return lied({ state: "confirmed", blockHeight: 1, blockHash: "ab".repeat(32) });
    },
    tip: async () => {
      const tip = await chain.tip();
      return lie === 2 ? lied({ ...tip, height: tip.height + 100 }) : tip;
    },
    broadcast: async () => {
      throw lied(new CairnError("chain-unavailable", "this node publishes nothing", {}));
    },
  });
};

/** Gives different words on a presignature's public data to different signers. */
export const splitReadiness: Behaviour = ({ hostile }) => {
  hostile.rewrite = (to, said) =>
    said.kind === "presign-ready" && to % 2 === 0 ? { ...said, payload: bent(said.payload, 20) } : said;
};
