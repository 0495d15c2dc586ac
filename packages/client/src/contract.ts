import { type ErrorCode, signatureHexSchema } from "@cairn/core";
import { z } from "zod";
import { grantRoutes } from "./grant-routes.ts";
import {
  bareSpendSchema,
  hex32Schema,
  instantSchema,
  keygenRequestJsonSchema,
  signedSpendRequestJsonSchema,
  spendApprovalJsonSchema,
} from "./json.ts";
import { type Role, roleSchema } from "./role.ts";
import * as view from "./views.ts";

/** One endpoint: what goes in, what comes out, who may call it. Server, client and OpenAPI document are made from it. */
export interface Route {
  readonly method: "GET" | "POST";
  /** Fastify form: `/a/:b`. */
  readonly path: string;
  readonly summary: string;
  readonly tag: string;
  /** Least role, or null for an endpoint that is open to all. */
  readonly role: Role | null;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  /** Body of the answer when it succeeds. */
  readonly response: z.ZodType;
  readonly status: 200 | 201 | 202;
  /** Body of the answer while what is asked for is not there yet: it comes with status 202. */
  readonly waiting?: z.ZodType;
  /** Takes an `Idempotency-Key` header. */
  readonly idempotent?: true;
  /** Why this endpoint refuses, beside what holds for all: shape, token, role, rate, size, and a path that names nothing. */
  readonly refusals?: readonly ErrorCode[];
}

const wallet = z.strictObject({
  wallet: hex32Schema.optional().meta({ description: "Wallet id; may be left out where there is only one" }),
});
const upTo = (most: number) =>
  z.coerce
    .number()
    .int()
    .min(1)
    .max(most)
    .default(50)
    .meta({ description: `Longest page, at most ${most}` });
const page = {
  cursor: z.string().max(200).optional().meta({ description: "`next` of the page before" }),
  limit: upTo(200),
};
const period = {
  since: instantSchema.optional().meta({ description: "At this time or later" }),
  until: instantSchema.optional().meta({ description: "Before this time" }),
};

/** Every endpoint of the REST API, by name. */
export const contract = {
  health: {
    method: "GET",
    path: "/health",
    summary: "Whether this node is up and what it can reach",
    tag: "node",
    role: null,
    response: view.healthSchema,
    status: 200,
  },
  createTransaction: {
    method: "POST",
    path: "/api/v1/transactions",
    summary: "Ask for a spend with a request that the owner's key signed",
    tag: "transactions",
    role: "spender",
    body: z.union([signedSpendRequestJsonSchema, bareSpendSchema]),
    response: view.transactionViewSchema,
    status: 202,
    idempotent: true,
    refusals: [
      "address-invalid",
      "amount-invalid",
      "dust",
      "insufficient-funds",
      "fee-too-high",
      "wrong-network",
      "expired",
      "signature-invalid",
      "unknown-requester",
      "unsigned-request",
      "not-found",
      "chain-unavailable",
      "storage-full",
    ],
  },
  listTransactions: {
    method: "GET",
    path: "/api/v1/transactions",
    summary: "Transactions, newest first",
    tag: "transactions",
    role: "viewer",
    query: z.strictObject({
      ...wallet.shape,
      state: z.string().max(200).optional().meta({ description: "States, separated by commas" }),
      recipient: z.string().max(128).optional().meta({
        description: "Address that is paid. A page may then be short, or empty, before the last one",
      }),
      ...period,
      ...page,
    }),
    response: view.transactionListSchema,
    status: 200,
  },
  getTransaction: {
    method: "GET",
    path: "/api/v1/transactions/:txid",
    summary: "One transaction, with votes, signers and raw transaction",
    tag: "transactions",
    role: "viewer",
    params: z.object({ txid: hex32Schema }),
    response: view.transactionDetailSchema,
    status: 200,
  },
  refreshTransaction: {
    method: "POST",
    path: "/api/v1/transactions/:txid/refresh",
    summary:
      "One transaction, after this node has looked for it at its chain source now. Looks that are asked for within five seconds are one",
    tag: "transactions",
    role: "viewer",
    params: z.object({ txid: hex32Schema }),
    response: view.transactionDetailSchema,
    status: 200,
    refusals: ["chain-unavailable", "busy"],
  },
  getRequest: {
    method: "GET",
    path: "/api/v1/requests/:request",
    summary:
      "A spend request as its owner signed it, by its hash, its intent's hash or its transaction id: what an approver reads",
    tag: "transactions",
    role: "viewer",
    params: z.object({ request: hex32Schema }),
    response: view.requestViewSchema,
    status: 200,
  },
  approveRequest: {
    method: "POST",
    path: "/api/v1/approvals",
    summary: "Hand in an approver's signed consent to a request, which may come before the request does",
    tag: "transactions",
    role: "spender",
    body: spendApprovalJsonSchema,
    response: view.approvalReceiptSchema,
    status: 202,
    refusals: [
      "wrong-cluster",
      "unknown-approver",
      "signature-invalid",
      "clock-skew",
      "expired",
      "busy",
      "storage-full",
    ],
  },
  ...grantRoutes,
  listWallets: {
    method: "GET",
    path: "/api/v1/wallets",
    summary: "Wallet records, signed by all nodes",
    tag: "wallet",
    role: "viewer",
    response: view.walletListSchema,
    status: 200,
  },
  getBalance: {
    method: "GET",
    path: "/api/v1/wallet/balance",
    summary: "What a wallet holds, as this node's chain source says",
    tag: "wallet",
    role: "viewer",
    query: wallet,
    response: view.balanceSchema,
    status: 200,
    refusals: ["not-found", "chain-unavailable"],
  },
  getAddress: {
    method: "GET",
    path: "/api/v1/wallet/address",
    summary: "The next unused receive address; derive it from the wallet record before trusting it",
    tag: "wallet",
    role: "viewer",
    query: wallet,
    response: view.addressViewSchema,
    status: 200,
    refusals: ["not-found", "chain-unavailable", "not-backed-up"],
  },
  overrideAddress: {
    method: "POST",
    path: "/api/v1/wallet/address",
    summary:
      "The next unused receive address, though members lack verified backups of their shares: for the audit log, which keeps who asked",
    tag: "wallet",
    role: "operator",
    body: wallet,
    response: view.addressViewSchema,
    status: 200,
    refusals: ["not-found", "chain-unavailable"],
  },
  createBackup: {
    method: "POST",
    path: "/api/v1/backups",
    summary: "Back up this node while it runs, to the recipients of its configuration",
    tag: "backups",
    role: "operator",
    response: view.backupViewSchema,
    status: 201,
    refusals: ["wrong-state", "busy"],
  },
  listBackups: {
    method: "GET",
    path: "/api/v1/backups",
    summary: "The newest verified backup of each member, and keys that lack some",
    tag: "backups",
    role: "viewer",
    response: view.backupListSchema,
    status: 200,
  },
  confirmBackup: {
    method: "POST",
    path: "/api/v1/backups/verified",
    summary: "Hand in an operator's signed word that a backup was opened and found whole",
    tag: "backups",
    role: "operator",
    body: z.strictObject({
      word: z.base64().min(1).meta({ description: "Canonical `SignedVerifiedBackup`" }),
    }),
    response: view.backupListSchema,
    status: 202,
    refusals: ["wrong-cluster", "not-member", "operator-signature-missing"],
  },
  getClusterStatus: {
    method: "GET",
    path: "/api/v1/cluster/status",
    summary: "Whether the cluster can sign",
    tag: "cluster",
    role: "viewer",
    response: view.clusterStatusSchema,
    status: 200,
  },
  listNodes: {
    method: "GET",
    path: "/api/v1/cluster/nodes",
    summary: "The members, as this node sees them",
    tag: "cluster",
    role: "viewer",
    response: view.nodeListSchema,
    status: 200,
  },
  listAlerts: {
    method: "GET",
    path: "/api/v1/cluster/alerts",
    summary: "What needs an operator's attention now, as this node sees it, the most urgent first",
    tag: "cluster",
    role: "viewer",
    response: view.alertListSchema,
    status: 200,
  },
  listBans: {
    method: "GET",
    path: "/api/v1/cluster/bans",
    summary: "Every ban that this node knows of, oldest first, those that have ended too",
    tag: "cluster",
    role: "viewer",
    response: view.banListSchema,
    status: 200,
  },
  getViolation: {
    method: "GET",
    path: "/api/v1/cluster/violations/:violation",
    summary: "A fault on record, with the evidence that anyone can judge offline where there is some",
    tag: "cluster",
    role: "viewer",
    params: z.object({ violation: hex32Schema }),
    response: view.violationViewSchema,
    status: 200,
  },
  getManifest: {
    method: "GET",
    path: "/api/v1/cluster/manifest",
    summary: "The manifest in force with its operators' signatures",
    tag: "cluster",
    role: "viewer",
    response: view.manifestViewSchema,
    status: 200,
  },
  getHistory: {
    method: "GET",
    path: "/api/v1/cluster/history",
    summary: "The genesis and every change of the manifest since, each with the signatures that prove it",
    tag: "cluster",
    role: "viewer",
    response: view.historyViewSchema,
    status: 200,
  },
  createProposal: {
    method: "POST",
    path: "/api/v1/proposals",
    summary:
      "Propose a change of policy or manifest, or to lift a ban, to all nodes; an operator's key signs it",
    tag: "proposals",
    role: "operator",
    body: z.strictObject({
      proposal: z.base64().min(1).meta({ description: "Canonical `SignedChangeProposal`" }),
    }),
    response: view.proposalViewSchema,
    status: 202,
    idempotent: true,
    refusals: [
      "operator-signature-missing",
      "wrong-cluster",
      "wrong-manifest",
      "wrong-policy",
      "not-yet-valid",
      "unsupported-version",
      "clock-skew",
      "expired",
      "not-canonical",
      "storage-full",
    ],
  },
  listProposals: {
    method: "GET",
    path: "/api/v1/proposals",
    summary: "Proposed changes of the cluster, newest first, with the votes that this node has seen",
    tag: "proposals",
    role: "viewer",
    query: z.strictObject({ state: view.proposalViewSchema.shape.state.optional(), limit: upTo(200) }),
    response: view.proposalListSchema,
    status: 200,
  },
  getProposal: {
    method: "GET",
    path: "/api/v1/proposals/:proposal",
    summary: "One proposed change",
    tag: "proposals",
    role: "viewer",
    params: z.object({ proposal: hex32Schema }),
    response: view.proposalViewSchema,
    status: 200,
  },
  signProposal: {
    method: "POST",
    path: "/api/v1/proposals/:proposal/signature",
    summary: "Have this node approve a change, with its own operator's signature on exactly that change",
    tag: "proposals",
    role: "operator",
    params: z.object({ proposal: hex32Schema }),
    body: z.strictObject({ signature: signatureHexSchema }),
    response: view.proposalViewSchema,
    status: 202,
    refusals: ["operator-signature-missing", "wrong-state", "storage-full"],
  },
  refuseProposal: {
    method: "POST",
    path: "/api/v1/proposals/:proposal/refusal",
    summary: "Have this node refuse a change, for good",
    tag: "proposals",
    role: "operator",
    params: z.object({ proposal: hex32Schema }),
    response: view.proposalViewSchema,
    status: 202,
    refusals: ["wrong-state", "storage-full"],
  },
  createKey: {
    method: "POST",
    path: "/api/v1/keys",
    summary: "Have all nodes make a key together; an operator's key signs the request",
    tag: "keys",
    role: "operator",
    body: keygenRequestJsonSchema,
    response: view.keyViewSchema,
    status: 202,
    idempotent: true,
    refusals: [
      "operator-signature-missing",
      "signature-invalid",
      "wrong-manifest",
      "expired",
      "storage-full",
    ],
  },
  listKeys: {
    method: "GET",
    path: "/api/v1/keys",
    summary: "Keys and how far their generation is",
    tag: "keys",
    role: "viewer",
    query: z.strictObject({
      status: view.keyViewSchema.shape.status.optional(),
      protocol: view.keyViewSchema.shape.protocol.optional(),
    }),
    response: view.keyListSchema,
    status: 200,
  },
  getKey: {
    method: "GET",
    path: "/api/v1/keys/:keyId",
    summary: "One key",
    tag: "keys",
    role: "viewer",
    params: z.object({ keyId: hex32Schema }),
    response: view.keyViewSchema,
    status: 200,
  },
  generatePresignatures: {
    method: "POST",
    path: "/api/v1/presignatures",
    summary: "Make presignatures now for a key's outputs",
    tag: "presignatures",
    role: "operator",
    body: z.strictObject({ keyId: hex32Schema, count: z.number().int().min(1).max(200) }),
    response: view.presignatureStatusSchema,
    status: 202,
    idempotent: true,
    refusals: ["not-found", "wrong-state"],
  },
  listPresignatures: {
    method: "GET",
    path: "/api/v1/presignatures",
    summary: "Presignatures of this node, newest first",
    tag: "presignatures",
    role: "viewer",
    query: z.strictObject({
      keyId: hex32Schema.optional(),
      state: z.enum(["pending", "ready", "burned", "discarded"]).optional(),
      ...page,
      limit: upTo(1_000),
    }),
    response: view.presignatureListSchema,
    status: 200,
  },
  getPresignatureStatus: {
    method: "GET",
    path: "/api/v1/presignatures/status",
    summary: "Stock of presignatures and how much of it is usable now",
    tag: "presignatures",
    role: "viewer",
    response: view.presignatureStatusSchema,
    status: 200,
  },
  listSessions: {
    method: "GET",
    path: "/api/v1/sessions",
    summary: "Protocol sessions, newest first",
    tag: "sessions",
    role: "viewer",
    query: z.strictObject({
      subject: z.string().max(64).optional(),
      live: z.stringbool().optional(),
      purpose: view.sessionViewSchema.shape.purpose.optional(),
      ...period,
      ...page,
    }),
    response: view.sessionListSchema,
    status: 200,
  },
  getSession: {
    method: "GET",
    path: "/api/v1/sessions/:session",
    summary: "One protocol session",
    tag: "sessions",
    role: "viewer",
    params: z.object({ session: hex32Schema }),
    response: view.sessionViewSchema,
    status: 200,
  },
  checkPolicy: {
    method: "POST",
    path: "/api/v1/policy/check",
    summary: "What this node's policy would say of a spend, rule by rule; nothing is reserved",
    tag: "policy",
    role: "viewer",
    body: z.strictObject({
      wallet: hex32Schema.optional(),
      outputs: z
        .array(z.strictObject({ address: z.string().max(128), amountSats: z.string().max(16) }))
        .min(1)
        .max(200),
      maxFeeSats: z.string().max(16),
      request: hex32Schema.optional().meta({
        description: "Hash of the request that this is about: the approvals that are there for it count",
      }),
    }),
    response: view.policyCheckSchema,
    status: 200,
    refusals: ["address-invalid", "amount-invalid", "wrong-network", "not-found"],
  },
  listAudit: {
    method: "GET",
    path: "/api/v1/audit",
    summary: "Entries of this node's audit log, oldest first",
    tag: "audit",
    role: "operator",
    query: z.strictObject({
      from: z.coerce
        .number()
        .int()
        .min(0)
        .default(0)
        .meta({ description: "Sequence number to begin with; `next` of the page before" }),
      kind: z.string().max(64).optional(),
      limit: page.limit,
    }),
    response: view.auditListSchema,
    status: 200,
  },
  listAnchors: {
    method: "GET",
    path: "/api/v1/audit/anchors",
    summary: "Transactions that put checkpoints of the audit logs on the chain, in order of the checkpoints",
    tag: "audit",
    role: "viewer",
    query: z.strictObject({
      from: z.coerce
        .number()
        .int()
        .min(0)
        .default(0)
        .meta({ description: "Sequence number of the checkpoint to begin with; `next` of the page before" }),
    }),
    response: view.anchorListSchema,
    status: 200,
  },
  exportAudit: {
    method: "GET",
    path: "/api/v1/audit/export",
    summary: "Lines of an export of this node's audit log, for offline verification",
    tag: "audit",
    role: "operator",
    query: z.strictObject({
      part: z
        .enum(["header", "manifests", "checkpoints", "anchors", "entries"])
        .meta({ description: "The parts of an export, in this order" }),
      from: z.coerce
        .number()
        .int()
        .min(0)
        .default(0)
        .meta({ description: "Sequence number to begin with; `next` of the page before" }),
      length: z.coerce
        .number()
        .int()
        .min(0)
        .optional()
        .meta({ description: "The header's: nothing is given that goes beyond it" }),
    }),
    response: view.auditExportSchema,
    status: 200,
  },
  createToken: {
    method: "POST",
    path: "/api/v1/tokens",
    summary: "Let a token in whose SHA-256 the caller gives; the node never learns the token from this",
    tag: "tokens",
    role: "admin",
    body: z.strictObject({
      name: view.tokenNameSchema,
      role: roleSchema,
      hash: hex32Schema.meta({ description: "SHA-256 of the token: at least 32 random bytes, as text" }),
      expiresAt: instantSchema.nullable().default(null),
    }),
    response: view.tokenViewSchema,
    status: 201,
    refusals: ["wrong-state", "limit-exceeded", "expired", "storage-full"],
  },
  listTokens: {
    method: "GET",
    path: "/api/v1/tokens",
    summary: "Tokens of this node, also those that are revoked; never the tokens themselves",
    tag: "tokens",
    role: "admin",
    response: view.tokenListSchema,
    status: 200,
  },
  revokeToken: {
    method: "POST",
    path: "/api/v1/tokens/:hash/revoke",
    summary: "End a token, from this answer on",
    tag: "tokens",
    role: "admin",
    params: z.object({ hash: hex32Schema }),
    response: view.tokenViewSchema,
    status: 200,
    refusals: ["wrong-state", "storage-full"],
  },
} as const satisfies Record<string, Route>;

export type Contract = typeof contract;
export type RouteName = keyof Contract;
