import {
  decodeEnvelope,
  Ed25519Signer,
  type EnvelopeHeader,
  nodeIndexSchema,
  openEnvelope,
  SealingKey,
  sealEnvelope,
  unixMsSchema,
  verifyNewSignature,
} from "@cairn/core";
import { median } from "./spread.ts";

/** What a payment cannot go below where all five nodes share one machine: the work that none of them can leave out. */
export interface BoxFloor {
  readonly envelopes: number;
  /** Processor time to seal and sign 1 KiB, and to check and open it, in milliseconds. */
  readonly envelopeMs: number;
  /** Signatures inside envelopes (votes, session messages): made, and verified by whoever is told. */
  readonly signed: number;
  readonly verified: number;
  readonly signMs: number;
  readonly verifyMs: number;
  readonly commits: number;
  /** Processor time of one commit over all threads. */
  readonly commitMs: number;
  /** Threshold cryptography of all parties. */
  readonly cryptographyMs: number;
  readonly cores: number;
  /** All of it, spread evenly over the cores. */
  readonly totalMs: number;
}

const NODES = 5;
const SIGNERS = 4;
const ROUNDS = 9;
const TIMES = 200;

/** What of a payment's work follows from the number of rounds of its protocol. */
export interface BoxWork {
  readonly rounds: number;
  readonly commitsEach: number;
  readonly commitMs: number;
  readonly cryptographyMs: number;
  readonly cores: number;
}

export async function measureBoxFloor({
  rounds,
  commitsEach,
  commitMs,
  cryptographyMs,
  cores,
}: BoxWork): Promise<BoxFloor> {
  const { envelopeMs, signMs, verifyMs } = await costs();
  const { envelopes, signed, verified, commits } = mandatoryWork(rounds, commitsEach);
  const workMs =
    envelopes * envelopeMs + signed * signMs + verified * verifyMs + commits * commitMs + cryptographyMs;
  return {
    envelopes,
    envelopeMs,
    signed,
    verified,
    signMs,
    verifyMs,
    commits,
    commitMs,
    cryptographyMs,
    cores,
    totalMs: workMs / cores,
  };
}

/** Counts over all five nodes. */
export function mandatoryWork(
  rounds: number,
  commitsEach: number,
): Pick<BoxFloor, "envelopes" | "signed" | "verified" | "commits"> {
  const others = NODES - 1;
  const pairs = SIGNERS * (SIGNERS - 1);
  return {
    // Intent to all; each vote to all; proposal to all, Acks to the initiator, Start to the signers; rounds among them; the signature to all.
    envelopes: others + NODES * others + others + 2 * (SIGNERS - 1) + rounds * pairs + others,
    signed: NODES + 1 + SIGNERS + 1 + rounds * SIGNERS,
    verified: NODES * others + others + pairs + (SIGNERS - 1) + rounds * pairs,
    commits: NODES * commitsEach,
  };
}

async function costs(): Promise<Pick<BoxFloor, "envelopeMs" | "signMs" | "verifyMs">> {
  const signer = Ed25519Signer.generate();
  const sealing = SealingKey.generate();
  const [from, to] = [1, 2].map((index) => nodeIndexSchema.parse(index));
  const now = unixMsSchema.parse(Date.now());
  const header = {
    version: 1,
    cluster: "1".padStart(64, "0"),
    epoch: 0,
    session: null,
    round: 0,
    from,
    to,
    seq: 1,
    sentAt: now,
    kind: "vote",
    trace: null,
  } as EnvelopeHeader;
  const payload = new Uint8Array(1024);
  const expected = {
    cluster: header.cluster,
    me: header.to,
    from: header.from,
    senderKey: signer.publicKey,
    now,
    clockSkewMs: 1_000,
  };
  const body = { ...header, payload };
  const signature = signer.sign("cairn/vote/v1", body);
  return {
    envelopeMs: await processor(async () => {
      const frame = await sealEnvelope(header, payload, sealing.publicKey, signer);
      await openEnvelope(decodeEnvelope(frame), expected, sealing);
    }),
    signMs: await processor(() => signer.sign("cairn/vote/v1", body)),
    verifyMs: await processor(() => verifyNewSignature("cairn/vote/v1", body, signer.publicKey, signature)),
  };
}

/** Processor time of the whole process for one `work`, in milliseconds: the median of several rounds after a warm-up. */
export async function processor(work: () => unknown, times = TIMES): Promise<number> {
  const each: number[] = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const before = process.cpuUsage();
    for (let time = 0; time < times; time += 1) await work();
    const { user, system } = process.cpuUsage(before);
    if (round > 0) each.push((user + system) / 1_000 / times);
  }
  return median(each);
}
