import { generateKeyPairSync } from "node:crypto";
import { createHpkeSuite, keyPairOf } from "../packages/core/src/hpke-suite.ts";
import { libraryHpke } from "./library-hpke.ts";
import type { Entry } from "./report.ts";
import { median, spreadOf } from "./spread.ts";

const SECTION = "envelopes";
const ROUNDS = 9;
const MESSAGES = 200;
const INFO = new Uint8Array(Buffer.from("cairn/envelope/v1"));
const HEADER = new Uint8Array(250);
const PAYLOAD = new Uint8Array(1024);

/** Sealing and opening 1 KiB with our primitives under @hpke/core, beside the library's own, in processor time over all threads. */
export async function envelopes(): Promise<readonly Entry[]> {
  const { privateKey } = generateKeyPairSync("x25519");
  const sides = [
    { name: "ours", suite: createHpkeSuite(), pair: keyPairOf(privateKey) },
    { name: "library", ...libraryHpke(privateKey) },
  ] as const;
  const costs = { seal: { ours: [], library: [] }, open: { ours: [], library: [] } } as Record<
    "seal" | "open",
    Record<"ours" | "library", number[]>
  >;
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const { name, suite, pair } of sides) {
      const raw = await suite.kem.serializePublicKey(pair.publicKey);
      const seal = async () => {
        const recipientPublicKey = await suite.kem.deserializePublicKey(raw);
        const sender = await suite.createSenderContext({ recipientPublicKey, info: INFO });
        return { enc: sender.enc, ciphertext: await sender.seal(PAYLOAD, HEADER) };
      };
      const sealed = await seal();
      const open = async () => {
        const recipient = await suite.createRecipientContext({
          recipientKey: pair,
          enc: sealed.enc,
          info: INFO,
        });
        return recipient.open(sealed.ciphertext, HEADER);
      };
      const sealing = await processor(seal);
      const opening = await processor(open);
      // The first round warms up.
      if (round === 0) continue;
      costs.seal[name].push(sealing);
      costs.open[name].push(opening);
    }
  }
  return (["seal", "open"] as const).map((what) => {
    const { ours, library } = costs[what];
    return {
      section: SECTION,
      what: `${what} 1 KiB by HPKE, processor time`,
      partner: "@hpke/core over WebCrypto",
      ratio: spreadOf(ours.map((cost, at) => cost / (library[at] ?? Number.NaN))),
      target: null,
      note: `${median(ours).toFixed(0)} µs beside ${median(library).toFixed(0)} µs`,
    };
  });
}

/** Microseconds of processor time a message. */
async function processor(work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  for (let message = 0; message < MESSAGES; message += 1) await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / MESSAGES;
}
