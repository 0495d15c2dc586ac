import { createPublicKey, verify } from "node:crypto";
import {
  type Evidence,
  initial,
  intentHash,
  judgeEvidence,
  type SignedVote,
  signedVoteSchema,
  step,
  type VotingEvent,
  type VotingState,
} from "@cairn/consensus";
import {
  decodeCanonical,
  domainBytes,
  encodeCanonical,
  fromHex,
  type NodeIndex,
  type Nonce,
  type UnixMs,
} from "@cairn/core";
import {
  clusterOf,
  HOUR,
  hash,
  intentOf,
  NOW,
  nodeOf,
  rejection,
  requestOf,
  voteOf,
  votingContext,
} from "../packages/consensus/test/cluster.ts";
import type { Entry } from "./report.ts";
import { median, spreadOf } from "./spread.ts";

const ROUNDS = 7;
const INTENTS = 200;
/** The node that votes both ways, in one of so many intents. */
const LIAR = 5;
const LIES_EVERY = 4;
/** DER before the 32 bytes of an Ed25519 public key (RFC 8410). */
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

const cluster = clusterOf();
const context = votingContext(cluster);
const members = cluster.manifest.members.map(({ index }) => index);
const keys = new Map(
  members.map((index) => [
    index,
    createPublicKey({
      key: Buffer.concat([SPKI, fromHex(nodeOf(cluster, index).publicKey)]),
      format: "der",
      type: "spki",
    }),
  ]),
);

interface Spend {
  readonly state: VotingState;
  readonly votes: readonly Uint8Array[];
}

/** What one node's voting machine and detector take for votes as they come off the wire, beside the bare verification of the same signatures. */
export async function events(): Promise<readonly Entry[]> {
  const ratios: number[] = [];
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    // Signatures that verified lately are not verified again, so that each round has votes of its own.
    const spends = Array.from({ length: INTENTS }, (_, at) => spendOf(`${round}/${at}`, at));
    const signed = spends.flatMap(({ votes }) =>
      votes.map((bytes) => decodeCanonical(signedVoteSchema, bytes)),
    );
    const plain = signed.map(({ body, signature }) => ({
      bytes: domainBytes("cairn/vote/v1", body),
      key: keys.get(body.voter),
      signature: fromHex(signature),
    }));
    const ours = timed(() => {
      for (const spend of spends) run(spend);
    });
    const bare = timed(() => {
      for (const { bytes, key, signature } of plain) {
        if (key === undefined || !verify(null, bytes, key, signature))
          throw new Error("a vote does not verify");
      }
    });
    ratios.push(ours / bare);
    rates.push((1_000 * signed.length) / ours);
  }
  return [
    {
      section: "events",
      what: "votes through voting machine and detector",
      partner: "bare verification of their signatures",
      ratio: spreadOf(ratios),
      target: null,
      note: `${median(rates).toFixed(0)} a second, from bytes to certificate; in one of ${LIES_EVERY} intents a node votes both ways, and the evidence is judged`,
    },
  ];
}

/** An intent before its first vote, and all nodes' votes in bytes; the liar's second one is the last. */
function spendOf(name: string, at: number): Spend {
  const intent = intentHash(intentOf(cluster, {}, requestOf(cluster, { nonce: hash(name) as Nonce })));
  const votes = members.map((index) => voteOf(cluster, index, { intentHash: intent }));
  if (at % LIES_EVERY === 0)
    votes.push(voteOf(cluster, LIAR, { intentHash: intent, ...rejection("policy-denied") }));
  return {
    state: initial({ intent, expiry: (NOW + HOUR) as UnixMs }),
    votes: votes.map((vote) => encodeCanonical(vote)),
  };
}

function run({ state, votes }: Spend): void {
  const evidence: Evidence[] = [];
  let current = state;
  const tell = (event: VotingEvent) => {
    const next = step(current, event, context);
    current = next.state;
    for (const effect of next.effects) {
      if (effect.kind === "violation" && effect.evidence !== null) evidence.push(effect.evidence);
    }
  };
  tell({ kind: "open" });
  for (const bytes of votes) {
    const vote: SignedVote = decodeCanonical(signedVoteSchema, bytes);
    tell({ kind: "vote", from: vote.body.voter satisfies NodeIndex, vote });
  }
  if (current.name !== "ThresholdReached") throw new Error(`five votes lead to ${current.name}`);
  if (evidence.length !== votes.length - members.length) throw new Error("a double vote was not seen");
  for (const fault of evidence) {
    const judged = judgeEvidence(fault, cluster, { protocolVersions: [1], intentFault: () => null });
    if (judged.kind !== "proven") throw new Error(`a double vote is ${judged.kind}`);
  }
}

function timed(work: () => void): number {
  const began = performance.now();
  work();
  return performance.now() - began;
}
