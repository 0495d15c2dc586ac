import assert from "node:assert/strict";
import { isCairnError, parseShape, signatureHexSchema, spendRequestSchema } from "@cairn/core";
import {
  answeredFetch,
  type Decoder,
  decodeExample,
  jsonDecoder,
  readProtocolExamples,
  textDecoder,
} from "@cairn/core/test-support";
import {
  CairnClient,
  type CairnEvent,
  type CallInput,
  type RouteName,
  signedSpendRequestJsonSchema,
  spendRequestToJson,
} from "../../src/index.ts";

const protocol = readProtocolExamples();
const request = spendRequestToJson({
  body: decodeExample(protocol, "spend-request", spendRequestSchema),
  signature: signatureHexSchema.parse(protocol.examples["spend-request"]?.signature),
});
const problem = {
  type: "urn:cairn:error:policy-denied",
  title: "policy-denied",
  status: 422,
  detail: "over the daily limit",
  instance: "r1",
  code: "policy-denied",
  data: { rule: "rolling24h" },
};
const health = {
  status: "ok",
  node: 1,
  cluster: "11".repeat(32),
  version: "0.1.0",
  protocolVersions: [1],
  uptimeSeconds: 1.5,
  peersUp: 4,
  peersTotal: 4,
  quorumReachable: true,
  storage: "ok",
  clock: "ok",
  chain: { ok: true, tipHeight: 7 },
};
const balance = {
  wallet: "22".repeat(32),
  confirmedSats: "150000",
  unconfirmedSats: "0",
  reservedSats: "0",
  spendableSats: "150000",
  utxos: 1,
  tipHeight: 7,
};
const transaction = {
  txid: "33".repeat(32),
  intent: "44".repeat(32),
  request: "55".repeat(32),
  lineage: "66".repeat(32),
  wallet: "22".repeat(32),
  state: "voting",
  reason: null,
  explanation: null,
  outputs: [{ address: "bcrt1q", amountSats: "5000" }],
  amountSats: "5000",
  feeSats: "200",
  maxFeeSats: "1000",
  createdAt: "2026-01-02T03:04:05.000Z",
  updatedAt: "2026-01-02T03:04:05.000Z",
  expiry: "2026-01-03T03:04:05.000Z",
  confirmedAt: null,
  confirmations: 0,
  blockHeight: null,
};
const event = {
  id: 1,
  at: "2026-01-02T03:04:05.000Z",
  type: "transaction",
  subject: "33".repeat(32),
  state: "voting",
  data: {},
};
const client = new CairnClient({ endpoints: ["http://node.invalid"], token: null });

/** What a node answers to one call. */
function answer<Name extends RouteName>(name: Name, input: CallInput<Name>, sample: unknown): Decoder {
  return jsonDecoder(`answer-${name}`, [sample], (text) =>
    answeredFetch(
      () => ({ body: text }),
      () => client.call(name, input),
    ),
  );
}

async function readEvents(text: string): Promise<CairnEvent[]> {
  const events: CairnEvent[] = [];
  await answeredFetch(
    () => ({ body: text }),
    async () => {
      for await (const read of client.events(new AbortController().signal)) events.push(read);
    },
  );
  return events;
}

/** Everything in this package that reads what a node or a caller says. */
export const decoders: readonly Decoder[] = [
  jsonDecoder("spend-request", [request], (text) => parseShape(signedSpendRequestJsonSchema, tryJson(text))),
  answer("health", {}, health),
  answer("listTransactions", {}, { transactions: [transaction], next: null }),
  answer("getBalance", {}, balance),
  answer("listWallets", {}, { wallets: [] }),
  jsonDecoder("problem", [problem], (text) =>
    answeredFetch(
      () => ({ body: text, status: 422 }),
      // A problem is an error by design, and may say `internal`: any typed one will do.
      () => assert.rejects(client.call("listWallets", {}), (error) => isCairnError(error)),
    ),
  ),
  textDecoder(
    "events",
    [`data: ${JSON.stringify(event)}\n\n: still here\n\ndata: ${JSON.stringify(event)}\n\n`],
    readEvents,
  ),
];

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // not JSON: the shape refuses it as text
  }
}
