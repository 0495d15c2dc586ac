import { encodePsbt, type Psbt, parsePsbt } from "@cairn/bitcoin";
import { type Intent, intentHash, intentSchema } from "@cairn/consensus";
import { decodeCanonical, encodeCanonical, type PeerMessage, type Sats } from "@cairn/core";
import { hostileVote } from "@cairn/runtime/test-support";
import type { SeededRandom } from "../seeded-random.ts";
import type { Behaviour } from "./behaviour.ts";

type Output = Psbt["transaction"]["outputs"][number];

/** Ways to turn an honest PSBT into a theft or a trap. */
const alterations: readonly ((psbt: Psbt, random: SeededRandom) => Psbt)[] = [
  (psbt, random) => withOutput(psbt, 0, { script: Uint8Array.from([0, 20, ...random.bytes(20)]) }),
  (psbt) => withOutput(psbt, 0, { amountSats: 15_000n }),
  (psbt) => ({
    ...psbt,
    transaction: {
      ...psbt.transaction,
      inputs: psbt.transaction.inputs.map((input) => ({ ...input, sequence: 0xffffffff })),
    },
  }),
  (psbt, random) => ({
    ...psbt,
    transaction: {
      ...psbt.transaction,
      outputs: [
        ...psbt.transaction.outputs,
        { amountSats: 1_000n, script: Uint8Array.from([0, 20, ...random.bytes(20)]) },
      ],
    },
    outputs: [...psbt.outputs, []],
  }),
  (psbt) => ({ ...psbt, transaction: { ...psbt.transaction, lockTime: 900_000 } }),
];

function withOutput(psbt: Psbt, position: number, change: Partial<Output>): Psbt {
  const outputs = psbt.transaction.outputs.map((output, at) =>
    at === position ? { ...output, ...change } : output,
  );
  return { ...psbt, transaction: { ...psbt.transaction, outputs } };
}

function intentOf(said: PeerMessage): Intent {
  return decodeCanonical(intentSchema, said.payload);
}

/** As the receiver of a request, hands out a PSBT that does not pay what the owner asked, and approves it. */
export const alteredPsbt: Behaviour = (stage) => {
  const { hostile, honest, random } = stage;
  hostile.rewrite = (_, said) => {
    if (said.kind !== "intent") return said.kind === "vote" || said.kind === "certificate" ? null : said;
    const honestly = intentOf(said);
    const alter = alterations[parsePsbt(honestly.psbt).transaction.outputs.length % alterations.length];
    const psbt = (alter ?? ((same: Psbt) => same))(
      parsePsbt(honestly.psbt),
      random.fork(intentHash(honestly)),
    );
    const intent = { ...honestly, psbt: new Uint8Array(encodePsbt(psbt)) };
    for (const to of honest) hostile.send(to, hostileVote(stage, intentHash(intent)));
    return { ...said, payload: encodeCanonical(intent) };
  };
};

/** Hands out a request that its owner never signed so. */
export const forgedRequest: Behaviour = ({ hostile }) => {
  hostile.rewrite = (_, said) => {
    if (said.kind !== "intent") return said;
    const honestly = intentOf(said);
    const body = { ...honestly.request.body, maxFeeSats: 19_999n as Sats };
    return { ...said, payload: encodeCanonical({ ...honestly, request: { ...honestly.request, body } }) };
  };
};

/** Makes two intents of one request, over different coins, tells each to other nodes, and approves both. */
export const twoIntents: Behaviour = (stage) => {
  const { hostile, honest } = stage;
  let first: Intent | null = null;
  hostile.rewrite = (to, said) => {
    if (said.kind === "certificate") return null;
    if (said.kind !== "intent") return said;
    const intent = intentOf(said);
    first ??= intent;
    if (intent.wallet !== first.wallet) return said;
    if (intentHash(intent) === intentHash(first)) return to <= 3 ? said : null;
    const second = { ...intent, request: first.request };
    for (const other of honest) hostile.send(other, hostileVote(stage, intentHash(second)));
    return to > 2 ? { ...said, payload: encodeCanonical(second) } : null;
  };
};

/** Keeps each intent that it makes from another honest node, and approves them all: each limit is asked of another three. */
export const spreadOverLimits: Behaviour = (stage) => {
  const { hostile, honest } = stage;
  const made: string[] = [];
  hostile.rewrite = (to, said) => {
    if (said.kind === "vote") return null;
    if (said.kind !== "intent") return said;
    const hash = intentHash(intentOf(said));
    if (!made.includes(hash)) {
      made.push(hash);
      for (const other of honest) hostile.send(other, hostileVote(stage, hash));
    }
    return to === honest[made.indexOf(hash) % honest.length] ? null : said;
  };
};
