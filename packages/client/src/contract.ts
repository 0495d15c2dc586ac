import { z } from "zod";
import {
  bareSpendSchema,
  hex32Schema,
  keygenRequestJsonSchema,
  signedSpendRequestJsonSchema,
} from "./json.ts";
import type { Role } from "./role.ts";
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
  /** Takes an `Idempotency-Key` header. */
  readonly idempotent?: true;
}

const wallet = z.object({
  wallet: hex32Schema.optional().meta({ description: "Wallet id; may be left out where there is only one" }),
});
const limit = z.coerce.number().int().min(1).max(200).default(50);

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
  },
  listTransactions: {
    method: "GET",
    path: "/api/v1/transactions",
    summary: "Transactions, newest first",
    tag: "transactions",
    role: "viewer",
    query: z.object({
      ...wallet.shape,
      state: z.string().max(200).optional().meta({ description: "States, separated by commas" }),
      cursor: z.string().max(200).optional(),
      limit,
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
  getManifest: {
    method: "GET",
    path: "/api/v1/cluster/manifest",
    summary: "The manifest in force with its operators' signatures",
    tag: "cluster",
    role: "viewer",
    response: view.manifestViewSchema,
    status: 200,
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
  },
  listKeys: {
    method: "GET",
    path: "/api/v1/keys",
    summary: "Keys and how far their generation is",
    tag: "keys",
    role: "viewer",
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
  },
  listPresignatures: {
    method: "GET",
    path: "/api/v1/presignatures",
    summary: "Presignatures of this node",
    tag: "presignatures",
    role: "viewer",
    query: z.object({
      keyId: hex32Schema.optional(),
      state: z.enum(["pending", "ready", "burned", "discarded"]).optional(),
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
    query: z.object({ subject: z.string().max(64).optional(), live: z.stringbool().optional(), limit }),
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
    }),
    response: view.policyCheckSchema,
    status: 200,
  },
  listAudit: {
    method: "GET",
    path: "/api/v1/audit",
    summary: "Entries of this node's audit log, oldest first",
    tag: "audit",
    role: "operator",
    query: z.object({ from: z.coerce.number().int().min(0).default(0), limit }),
    response: view.auditListSchema,
    status: 200,
  },
} as const satisfies Record<string, Route>;

export type Contract = typeof contract;
export type RouteName = keyof Contract;
