import assert from "node:assert/strict";
import {
  isCairnError,
  keygenRequestSchema,
  parseShape,
  signatureHexSchema,
  spendApprovalSchema,
  spendRequestSchema,
} from "@cairn/core";
import {
  answeredFetch,
  type Decoder,
  decodeExample,
  jsonDecoder,
  readProtocolExamples,
  textDecoder,
} from "@cairn/core/test-support";
import type { z } from "zod";
import {
  CairnClient,
  type CairnEvent,
  type CallInput,
  type Contract,
  contract,
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
const hex = (digit: string): string => digit.repeat(64);
const backupList = {
  backups: [
    {
      node: 1,
      backup: hex("b"),
      createdAt: "2026-01-01T00:00:00.000Z",
      verifiedAt: "2026-01-01T00:00:00.000Z",
      keys: [{ keyId: hex("c"), epoch: 0 }],
      word: "YQ==",
    },
  ],
  unbacked: [{ keyId: hex("c"), epoch: 0, missing: [2] }],
};
const at = "2026-01-02T03:04:05.000Z";
const [wallet, keyId, publicPackage, txid, session] = [hex("2"), hex("7"), hex("8"), hex("3"), hex("9")];
const transaction = {
  txid,
  intent: hex("4"),
  request: hex("5"),
  lineage: hex("6"),
  wallet,
  state: "voting" as const,
  reason: null,
  explanation: "it waits for the votes of two more nodes",
  approvals: { needed: 2, given: [hex("a")], missing: [hex("b"), hex("c")] },
  outputs: [{ address: "bcrt1q", amountSats: "5000" }],
  amountSats: "5000",
  feeSats: "200",
  maxFeeSats: "1000",
  createdAt: at,
  updatedAt: at,
  expiry: "2026-01-03T03:04:05.000Z",
  confirmedAt: null,
  confirmations: 0,
  blockHeight: null,
};
const key = {
  keyId,
  protocol: "cggmp24" as const,
  purpose: "spend",
  epoch: 0,
  status: "generating" as const,
  stage: "aux",
  progress: 0.25,
  reason: null,
  approvals: [{ node: 1, approve: true, reason: null }],
  createdAt: at,
  updatedAt: at,
};
const stock = {
  target: 50,
  refillBelow: 20,
  batch: 10,
  keys: [{ keyId, ready: 3, pending: 1, burned: 2, usable: 3, wanted: 50 }],
};
const sessionView = {
  session,
  purpose: "sign" as const,
  subject: hex("a"),
  attempt: 0,
  initiator: 2,
  signers: [1, 2, 3, 4],
  state: "round1",
  failure: null,
  startedAt: at,
  endedAt: null,
};
const token = {
  name: "shop",
  role: "spender" as const,
  hash: hex("b"),
  source: "api" as const,
  createdAt: at,
  expiresAt: null,
  revokedAt: null,
};
const proposal = {
  proposal: hex("c"),
  type: "manifest" as const,
  state: "committed" as const,
  mode: "bft" as const,
  manifestHash: hex("d"),
  operator: hex("e"),
  createdAt: at,
  expiry: at,
  firstSeenAt: at,
  effectiveAt: at,
  needed: 4,
  votes: [
    { node: 1, approve: true, reason: null },
    { node: 2, approve: false, reason: "operator-refused" },
  ],
  body: "oWFhAQ==",
};
const signingGrant = {
  status: "granted" as const,
  grant: hex("4"),
  request: hex("5"),
  intent: hex("4"),
  txid,
  wallet,
  keyId,
  notBefore: at,
  expiry: at,
  document: "oWFhAQ==",
};
const keygenGrant = { status: "granted" as const, keyId, expiry: at, document: "oWFhAQ==" };
const keygenRequest = {
  body: decodeExample(protocol, "keygen-request", keygenRequestSchema),
  signature: signatureHexSchema.parse(protocol.examples["keygen-request"]?.signature),
};

const approval = {
  body: decodeExample(protocol, "spend-approval", spendApprovalSchema),
  signature: signatureHexSchema.parse(protocol.examples["spend-approval"]?.signature),
};

const detail = {
  ...transaction,
  rawTx: "02000000",
  signers: [1, 2, 3, 4],
  votes: [{ node: 1, round: 0, approve: false, reason: "policy-denied", receivedAt: at }],
  votingState: "Collecting",
  inputs: [{ txid: hex("c"), vout: 0, amountSats: "6000", scriptPubKey: "0014" }],
  timingsMs: { voting: 12.5 },
};

/** What each call takes, and an answer with every field filled that it may have. A call without a sample is no valid type. */
const calls: {
  readonly [Name in RouteName]: {
    readonly input: CallInput<Name>;
    readonly sample: z.input<Contract[Name]["response"]>;
  };
} = {
  health: {
    input: {},
    sample: {
      status: "ok",
      node: 1,
      cluster: hex("1"),
      version: "0.1.0",
      protocolVersions: [1],
      uptimeSeconds: 1.5,
      peersUp: 4,
      peersTotal: 4,
      quorumReachable: true,
      storage: "ok",
      clock: "ok",
      chain: { ok: true, tipHeight: 7 },
      sync: "ok",
    },
  },
  createTransaction: { input: { body: request, idempotencyKey: "order-1" }, sample: transaction },
  listTransactions: { input: {}, sample: { transactions: [transaction], next: "cursor" } },
  getTransaction: { input: { params: { txid } }, sample: detail },
  refreshTransaction: { input: { params: { txid } }, sample: detail },
  getRequest: {
    input: { params: { request: hex("5") } },
    sample: { request: hex("5"), body: request.request, signature: request.signature, transaction },
  },
  approveRequest: {
    input: { body: approval },
    sample: { request: hex("5"), approver: hex("a"), expiry: at, transaction },
  },
  listWallets: {
    input: {},
    sample: {
      wallets: [
        {
          record: {
            version: 1,
            cluster: hex("1"),
            wallet,
            label: "savings",
            network: "regtest",
            descriptor: "wpkh(xpub/<0;1>/*)",
            keyId,
            protocol: "cggmp24",
            publicPackage,
            birthday: 7,
          },
          signatures: [{ node: 1, signature: hex("d").repeat(2) }],
        },
      ],
    },
  },
  getBalance: {
    input: {},
    sample: {
      wallet,
      confirmedSats: "150000",
      unconfirmedSats: "0",
      reservedSats: "0",
      spendableSats: "150000",
      utxos: 1,
      tipHeight: 7,
    },
  },
  getAddress: {
    input: { query: { wallet } },
    sample: { wallet, address: "bcrt1q", path: [0, 3], descriptor: "wpkh(xpub/<0;1>/*)", unbacked: [2] },
  },
  overrideAddress: {
    input: { body: { wallet } },
    sample: { wallet, address: "bcrt1q", path: [0, 3], descriptor: "wpkh(xpub/<0;1>/*)", unbacked: [2] },
  },
  createBackup: {
    input: {},
    sample: {
      backup: hex("b"),
      node: 1,
      createdAt: "2026-01-01T00:00:00.000Z",
      keys: [hex("c")],
      recipients: ["age1"],
      file: "YWdl",
    },
  },
  listBackups: { input: {}, sample: backupList },
  confirmBackup: { input: { body: { word: "YQ==" } }, sample: backupList },
  createSigningGrant: { input: { body: request, query: { wait: 0 } }, sample: signingGrant },
  getSigningGrant: { input: { params: { request: hex("5") } }, sample: signingGrant },
  createKeygenGrant: { input: { body: keygenRequest }, sample: keygenGrant },
  getKeygenGrant: { input: { params: { keyId } }, sample: keygenGrant },
  checkGrant: {
    input: { body: { document: "oWFhAQ==" } },
    sample: { node: 1, type: "signing", subject: hex("4"), standing: "live", expiry: at },
  },
  getClusterStatus: {
    input: {},
    sample: {
      cluster: hex("1"),
      network: "regtest",
      node: 1,
      threshold: 4,
      total: 5,
      quorum: 4,
      up: 5,
      canSign: true,
      manifest: { sequence: 0, hash: hex("e"), fingerprint: "ab cd" },
      policyVersion: 1,
      authorisation: "quorum",
      tipHeight: 7,
      keys: { active: 1, generating: 0, unbacked: 1 },
      primes: { ready: 4, target: 4, generating: false },
      coordination: { type: "etcd", state: "unreachable", failingSince: at },
      burnCounter: 3,
      auditLength: 9,
      sync: {
        abstains: false,
        restoredAt: null,
        heard: [],
        needed: null,
        forgottenUntil: null,
        peers: [{ node: 2, state: "whole", wholeAt: null, reason: null, taken: 1, refused: 0, withheld: 0 }],
      },
    },
  },
  listNodes: {
    input: {},
    sample: {
      nodes: [
        {
          index: 2,
          name: "node-2",
          self: false,
          up: true,
          api: "http://127.0.0.1:8081",
          addresses: ["tcp://127.0.0.1:9001"],
          lastSeen: at,
          roundTripMs: 0.4,
          protocolVersion: 1,
          epoch: 0,
          banned: true,
          bannedUntil: at,
          lastError: "connection refused",
        },
      ],
    },
  },
  listAlerts: {
    input: {},
    sample: {
      alerts: [
        { kind: "ban", subject: "3", since: at, what: "banned", advice: "ask", data: { until: null } },
      ],
    },
  },
  listBans: {
    input: {},
    sample: {
      bans: [
        {
          node: 5,
          violation: hex("f"),
          scope: "cluster",
          count: 3,
          from: at,
          until: null,
          liftedAt: at,
          inForce: false,
        },
      ],
    },
  },
  getViolation: {
    input: { params: { violation: hex("f") } },
    sample: {
      violation: hex("f"),
      node: 5,
      type: "DoubleVote",
      subject: hex("a"),
      action: "ban",
      detectedAt: at,
      evidence: "oWFhAQ==",
    },
  },
  getManifest: { input: {}, sample: { hash: hex("e"), sequence: 0, signedManifest: "oWFhAQ==" } },
  getHistory: {
    input: {},
    sample: { genesis: "oWFhAQ==", policy: "oWFhAQ==", commits: ["oWFhAQ=="] },
  },
  createProposal: { input: { body: { proposal: "oWFhAQ==" } }, sample: proposal },
  listProposals: { input: { query: { state: "open" } }, sample: { proposals: [proposal] } },
  getProposal: { input: { params: { proposal: hex("c") } }, sample: { ...proposal, effectiveAt: null } },
  signProposal: {
    input: {
      params: { proposal: hex("c") },
      body: { signature: signatureHexSchema.parse("ab".repeat(64)) },
    },
    sample: proposal,
  },
  refuseProposal: { input: { params: { proposal: hex("c") } }, sample: proposal },
  createKey: { input: { body: keygenRequest }, sample: key },
  listKeys: { input: { query: { status: "active" } }, sample: { keys: [key] } },
  getKey: { input: { params: { keyId } }, sample: { ...key, status: "failed", reason: "expired" } },
  generatePresignatures: { input: { body: { keyId, count: 2 } }, sample: stock },
  listPresignatures: {
    input: {},
    sample: {
      presignatures: [
        {
          id: hex("f"),
          keyId,
          path: [1, 2],
          signers: [1, 2, 3, 5],
          state: "burned",
          createdAt: at,
          burnedAt: at,
        },
      ],
      next: null,
    },
  },
  getPresignatureStatus: { input: {}, sample: stock },
  listSessions: { input: {}, sample: { sessions: [sessionView], next: null } },
  getSession: { input: { params: { session } }, sample: { ...sessionView, failure: "timeout", endedAt: at } },
  checkPolicy: {
    input: { body: { outputs: [{ address: "bcrt1q", amountSats: "5000" }], maxFeeSats: "1000" } },
    sample: {
      node: 1,
      decision: "deny",
      rules: [{ rule: "rolling24h", decision: "deny", explanation: "over the daily limit" }],
    },
  },
  listAudit: {
    input: { query: { from: 1 } },
    sample: {
      entries: [{ seq: 1, at, kind: "vote", subject: txid, data: { approve: true }, hash: hex("a") }],
      next: 2,
    },
  },
  listAnchors: {
    input: { query: { from: 1 } },
    sample: {
      anchors: [
        {
          sequence: 1,
          checkpoint: hex("a"),
          txid,
          createdAt: at,
          state: "confirmed",
          confirmations: 6,
          blockHeight: 100,
          blockHash: hex("b"),
        },
      ],
      next: 2,
    },
  },
  exportAudit: {
    input: { query: { part: "entries", from: 1, length: 9 } },
    sample: { lines: ['{"entry":{}}'], next: 1_000 },
  },
  createToken: { input: { body: { name: "shop", role: "spender", hash: hex("b") } }, sample: token },
  listTokens: { input: {}, sample: { tokens: [{ ...token, source: "configuration", createdAt: null }] } },
  revokeToken: { input: { params: { hash: hex("b") } }, sample: { ...token, revokedAt: at } },
};
const event = {
  id: 1,
  at,
  type: "transaction",
  subject: txid,
  state: "voting",
  data: {},
};
const routeNames = Object.keys(contract) as RouteName[];
const client = new CairnClient({ endpoints: ["http://node.invalid"], token: null });

/** What a node answers to one call. */
function answer<Name extends RouteName>(name: Name): Decoder {
  const { input, sample } = calls[name];
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
  ...routeNames.map((name) => answer(name)),
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
