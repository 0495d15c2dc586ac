import {
  changeStates,
  consensusModeSchema,
  networkSchema,
  protocolSchema,
  signatureHexSchema,
  transactionStates,
} from "@cairn/core";
import { z } from "zod";
import { alertKindSchema } from "./alert-kind.ts";
import { hex32Schema, satsTextSchema, spendRequestTextSchema, timeSchema } from "./json.ts";
import { roleSchema } from "./role.ts";

const nodeIndex = z.number().int().min(1).max(255);

export const healthSchema = z.object({
  status: z.enum(["ok", "degraded"]),
  node: nodeIndex,
  cluster: hex32Schema,
  version: z.string(),
  protocolVersions: z.array(z.number().int()),
  uptimeSeconds: z.number(),
  peersUp: z.number().int(),
  peersTotal: z.number().int(),
  quorumReachable: z.boolean(),
  storage: z.enum(["ok", "failing"]),
  clock: z.enum(["ok", "disagrees"]).meta({
    description:
      "`disagrees` for a minute after a peer's message with an unbelievable time: check time synchronisation",
  }),
  chain: z.object({ ok: z.boolean(), tipHeight: z.number().int().nullable() }),
  sync: z.enum(["ok", "abstains"]).meta({
    description:
      "`abstains` while the node lost its database and asks its peers what it held: `cairn cluster status` says how far it is",
  }),
});

export const voteViewSchema = z.object({
  node: nodeIndex,
  round: z.number().int(),
  approve: z.boolean(),
  reason: z.string().nullable(),
  receivedAt: timeSchema,
});

export const approvalsViewSchema = z.object({
  needed: z.number().int().meta({ description: "So many of the approvers must approve" }),
  given: z.array(hex32Schema).meta({ description: "Approvers whose approvals count" }),
  missing: z.array(hex32Schema).meta({ description: "Approvers who have not approved" }),
});

export const transactionViewSchema = z.object({
  txid: hex32Schema,
  intent: hex32Schema,
  request: hex32Schema,
  lineage: hex32Schema,
  wallet: hex32Schema,
  state: z.enum(transactionStates),
  reason: z.string().nullable(),
  explanation: z.string().nullable().meta({ description: "In words: why it ended or what it waits for" }),
  approvals: approvalsViewSchema.nullable().meta({
    description: "What people must say before nodes vote, as policy asks; null where it asks for nothing",
  }),
  outputs: z.array(z.object({ address: z.string(), amountSats: satsTextSchema })),
  amountSats: satsTextSchema,
  feeSats: satsTextSchema,
  maxFeeSats: satsTextSchema,
  createdAt: timeSchema,
  updatedAt: timeSchema,
  expiry: timeSchema,
  confirmedAt: timeSchema.nullable(),
  confirmations: z.number().int(),
  blockHeight: z.number().int().nullable(),
});

export const transactionDetailSchema = transactionViewSchema.extend({
  rawTx: z.string().nullable(),
  signers: z.array(nodeIndex),
  votes: z.array(voteViewSchema),
  votingState: z.string(),
  inputs: z.array(
    z.object({
      txid: hex32Schema,
      vout: z.number().int(),
      amountSats: satsTextSchema,
      scriptPubKey: z.string(),
    }),
  ),
  timingsMs: z.record(z.string(), z.number()),
});

export const requestViewSchema = z.object({
  request: hex32Schema.meta({ description: "Hash of the request: compute it again before you approve" }),
  body: spendRequestTextSchema.meta({ description: "What the owner signed" }),
  signature: signatureHexSchema.nullable().meta({ description: "The owner's; null for an unsigned request" }),
  transaction: transactionViewSchema,
});

export const approvalReceiptSchema = z.object({
  request: hex32Schema,
  approver: hex32Schema,
  expiry: timeSchema,
  transaction: transactionViewSchema
    .nullable()
    .meta({ description: "What the approval is for; null while this node does not know the request" }),
});

const next = z
  .string()
  .nullable()
  .meta({ description: "Pass as `cursor` for the next page; null on the last" });

export const transactionListSchema = z.object({ transactions: z.array(transactionViewSchema), next });

const signatureEntry = z.object({ node: nodeIndex, signature: z.string().regex(/^[0-9a-f]{128}$/) });

/** A wallet as its record says, with all nodes' signatures: a client verifies them and derives addresses itself. */
export const walletViewSchema = z.object({
  record: z.object({
    version: z.literal(1),
    cluster: hex32Schema,
    wallet: hex32Schema,
    label: z.string(),
    network: networkSchema,
    descriptor: z.string(),
    keyId: hex32Schema,
    protocol: protocolSchema,
    publicPackage: hex32Schema,
    birthday: z.number().int(),
  }),
  signatures: z.array(signatureEntry),
});

export const walletListSchema = z.object({ wallets: z.array(walletViewSchema) });

export const balanceSchema = z.object({
  wallet: hex32Schema,
  confirmedSats: satsTextSchema,
  unconfirmedSats: satsTextSchema,
  reservedSats: satsTextSchema.meta({ description: "Held by spends under way" }),
  spendableSats: satsTextSchema,
  utxos: z.number().int(),
  tipHeight: z.number().int(),
});

export const addressViewSchema = z.object({
  wallet: hex32Schema,
  address: z.string(),
  path: z.tuple([z.number().int(), z.number().int()]),
  descriptor: z.string(),
  unbacked: z
    .array(nodeIndex)
    .meta({ description: "Members without a verified backup of their share: coins may be lost with them" }),
});

/** A backup that the node made just now. */
export const backupViewSchema = z.object({
  backup: hex32Schema.meta({ description: "SHA-256 of the file" }),
  node: nodeIndex,
  createdAt: timeSchema,
  keys: z.array(hex32Schema),
  recipients: z.array(z.string()).meta({ description: "age recipients who can open it" }),
  file: z.base64().meta({ description: "The age file" }),
});

/** Backups that operators have verified, and keys that still lack some. */
export const backupListSchema = z.object({
  backups: z.array(
    z.object({
      node: nodeIndex,
      backup: hex32Schema,
      createdAt: timeSchema,
      verifiedAt: timeSchema,
      keys: z.array(z.object({ keyId: hex32Schema, epoch: z.number().int() })),
      word: z.base64().meta({ description: "Canonical `SignedVerifiedBackup`, which its operator signed" }),
    }),
  ),
  unbacked: z.array(
    z.object({
      keyId: hex32Schema,
      epoch: z.number().int(),
      missing: z.array(nodeIndex).meta({ description: "Members without a verified backup of their share" }),
    }),
  ),
});

export const nodeViewSchema = z.object({
  index: nodeIndex,
  name: z.string(),
  self: z.boolean(),
  up: z.boolean(),
  api: z.string().nullable(),
  addresses: z.array(z.string()),
  lastSeen: timeSchema.nullable(),
  roundTripMs: z.number().nullable(),
  protocolVersion: z.number().int().nullable(),
  epoch: z.number().int().nullable(),
  banned: z.boolean(),
  bannedUntil: timeSchema.nullable(),
  lastError: z.string().nullable(),
});

export const nodeListSchema = z.object({ nodes: z.array(nodeViewSchema) });

export const banViewSchema = z.object({
  node: nodeIndex,
  violation: hex32Schema,
  scope: z.enum(["local", "cluster"]).meta({
    description: "cluster: proven to everybody; local: this node saw it and keeps the node out for itself",
  }),
  count: z.number().int().meta({ description: "1: for 24 hours; 2: for 7 days; 3 and more: for good" }),
  from: timeSchema,
  until: timeSchema.nullable().meta({ description: "null: for good" }),
  liftedAt: timeSchema.nullable(),
  inForce: z.boolean(),
});
export const banListSchema = z.object({ bans: z.array(banViewSchema) });

export const violationViewSchema = z.object({
  violation: hex32Schema,
  node: nodeIndex,
  type: z.string(),
  subject: z.string().nullable().meta({ description: "Intent or session that it is about" }),
  action: z.string(),
  detectedAt: timeSchema,
  evidence: z
    .base64()
    .nullable()
    .meta({ description: "Canonical `Evidence`; null where only this node could see the fault" }),
});

/** How far a node has come in asking its peers what they hold that it lacks. */
export const syncViewSchema = z.object({
  abstains: z.boolean().meta({
    description:
      "Whether the node lost its database, and takes part in nothing until more peers have told it all",
  }),
  restoredAt: timeSchema
    .nullable()
    .meta({ description: "When its database was restored; null where nothing follows from that" }),
  heard: z.array(nodeIndex).meta({ description: "Peers that have told all since" }),
  needed: z.number().int().nullable().meta({ description: "So many peers must have, before it acts again" }),
  forgottenUntil: timeSchema.nullable().meta({
    description: "It never takes part in requests that expire until then, nor in those that replace one",
  }),
  peers: z.array(
    z.object({
      node: nodeIndex,
      state: z.enum(["waiting", "asking", "whole", "failed"]).meta({
        description: "`whole`: the peer has told all; `failed`: it is asked again later",
      }),
      wholeAt: timeSchema
        .nullable()
        .meta({ description: "When it had last told all, since the daemon started" }),
      reason: z.string().nullable().meta({ description: "Why the last turn failed: an error code" }),
      taken: z
        .number()
        .int()
        .meta({ description: "Spends that were new or more complete here, in the last turns" }),
      refused: z.number().int().meta({ description: "Records that did not verify" }),
      withheld: z.number().int().meta({ description: "Spends that it named and did not hand over" }),
    }),
  ),
});

export const clusterStatusSchema = z.object({
  cluster: hex32Schema,
  network: networkSchema,
  node: nodeIndex,
  threshold: z.number().int(),
  total: z.number().int(),
  quorum: z.number().int(),
  up: z.number().int(),
  canSign: z.boolean(),
  manifest: z.object({ sequence: z.number().int(), hash: hex32Schema, fingerprint: z.string() }),
  policyVersion: z.number().int(),
  authorisation: z.string(),
  tipHeight: z.number().int().nullable(),
  keys: z.object({
    active: z.number().int(),
    generating: z.number().int(),
    unbacked: z
      .number()
      .int()
      .meta({ description: "In use, and some member has no verified backup of its share" }),
  }),
  primes: z.object({ ready: z.number().int(), target: z.number().int(), generating: z.boolean() }),
  coordination: z
    .object({
      type: z.enum(["none", "etcd"]),
      state: z.enum(["none", "ok", "unreachable"]),
      failingSince: timeSchema.nullable(),
    })
    .meta({
      description: "What shows the cluster and speeds it up; nothing is signed or refused because of it",
    }),
  burnCounter: z.number().int(),
  auditLength: z.number().int(),
  sync: syncViewSchema,
});

export const alertViewSchema = z.object({
  kind: alertKindSchema,
  subject: z.string().meta({ description: "Index of a node, or id of what it is about" }),
  since: timeSchema,
  what: z.string().meta({ description: "What is the matter" }),
  advice: z.string().meta({ description: "What to do about it" }),
  data: z.record(z.string(), z.unknown()),
});
export const alertListSchema = z.object({ alerts: z.array(alertViewSchema) });

/** The manifest in force, base64 of the canonical `SignedManifest`, for clients that pin its hash. */
export const manifestViewSchema = z.object({
  hash: hex32Schema,
  sequence: z.number().int(),
  signedManifest: z.base64(),
});

/** How the manifest in force came about: whoever holds one link verifies those after it. */
export const historyViewSchema = z.object({
  genesis: z.base64().meta({ description: "Canonical `SignedManifest` that all operators signed" }),
  policy: z.base64().meta({ description: "Canonical `Policy` that the genesis pins" }),
  commits: z.array(z.base64()).meta({ description: "Canonical `ChangeCommit`s, each of its predecessor" }),
});

export const proposalStates = [...changeStates, "failed"] as const;

export const proposalViewSchema = z.object({
  proposal: hex32Schema,
  type: z.enum(["manifest", "ban-lift", "refresh", "keygen"]),
  state: z.enum(proposalStates).meta({
    description: "`failed`: all nodes approved a key, but it could not be made",
  }),
  mode: consensusModeSchema.meta({ description: "The manifest's mode for operations of this kind" }),
  manifestHash: hex32Schema.meta({ description: "The manifest that it changes, or was made under" }),
  operator: hex32Schema.meta({ description: "Key of the operator who proposed it" }),
  createdAt: timeSchema,
  expiry: timeSchema,
  firstSeenAt: timeSchema.meta({ description: "When this node first saw it" }),
  effectiveAt: timeSchema.nullable().meta({
    description: "When it takes effect at this node, or took it; null before a quorum has approved",
  }),
  needed: z.number().int().meta({
    description:
      "Nodes whose approvals it takes: as the mode says, but all for a key, since each holds a share",
  }),
  votes: z.array(z.object({ node: nodeIndex, approve: z.boolean(), reason: z.string().nullable() })),
  body: z.base64().meta({ description: "Canonical `SignedChangeProposal`; of a key, `SignedKeygenRequest`" }),
});
export const proposalListSchema = z.object({ proposals: z.array(proposalViewSchema) });

export const keyViewSchema = z.object({
  keyId: hex32Schema,
  protocol: protocolSchema,
  purpose: z.string(),
  epoch: z.number().int(),
  status: z.enum(["generating", "active", "rotating", "retired", "failed"]),
  stage: z.string().nullable(),
  progress: z.number().min(0).max(1).nullable(),
  reason: z.string().nullable(),
  approvals: z.array(z.object({ node: nodeIndex, approve: z.boolean(), reason: z.string().nullable() })),
  createdAt: timeSchema,
  updatedAt: timeSchema,
});

export const keyListSchema = z.object({ keys: z.array(keyViewSchema) });

export const presignatureViewSchema = z.object({
  id: hex32Schema,
  keyId: hex32Schema,
  path: z.tuple([z.number().int(), z.number().int()]),
  signers: z.array(nodeIndex),
  state: z.enum(["pending", "ready", "burned", "discarded"]),
  createdAt: timeSchema,
  burnedAt: timeSchema.nullable(),
});

export const presignatureListSchema = z.object({ presignatures: z.array(presignatureViewSchema), next });

export const presignatureStatusSchema = z.object({
  target: z.number().int(),
  refillBelow: z.number().int(),
  batch: z.number().int(),
  keys: z.array(
    z.object({
      keyId: hex32Schema,
      ready: z.number().int(),
      pending: z.number().int(),
      burned: z.number().int(),
      usable: z.number().int().meta({ description: "Ready, and all of their signers are up now" }),
      wanted: z.number().int(),
    }),
  ),
});

export const sessionViewSchema = z.object({
  session: hex32Schema,
  purpose: z.enum(["sign", "presign", "keygen", "refresh"]),
  subject: z.string(),
  attempt: z.number().int(),
  initiator: nodeIndex,
  signers: z.array(nodeIndex),
  state: z.string(),
  failure: z.string().nullable(),
  startedAt: timeSchema,
  endedAt: timeSchema.nullable(),
});

export const sessionListSchema = z.object({ sessions: z.array(sessionViewSchema), next });

export const policyRuleSchema = z.object({ rule: z.string(), decision: z.string(), explanation: z.string() });
export const policyCheckSchema = z.object({
  node: nodeIndex,
  decision: z.enum(["allow", "deny", "wait"]),
  rules: z.array(policyRuleSchema),
});

export const auditEntryViewSchema = z.object({
  seq: z.number().int(),
  at: timeSchema,
  kind: z.string(),
  subject: z.string(),
  data: z.record(z.string(), z.unknown()),
  hash: hex32Schema,
});
export const auditListSchema = z.object({
  entries: z.array(auditEntryViewSchema),
  next: z.number().int().nullable(),
});

export const anchorViewSchema = z.object({
  sequence: z.number().int().meta({ description: "Of the checkpoint" }),
  checkpoint: hex32Schema,
  txid: hex32Schema,
  createdAt: timeSchema,
  state: z.enum(transactionStates).meta({ description: "Of the transaction" }),
  confirmations: z.number().int().min(0).meta({ description: "Followed until 6" }),
  blockHeight: z.number().int().nullable(),
  blockHash: hex32Schema.nullable(),
});
export const anchorListSchema = z.object({
  anchors: z.array(anchorViewSchema),
  next: z.number().int().nullable(),
});

export const auditExportSchema = z.object({
  lines: z.array(z.string()).meta({ description: "JSON texts, as they stand in an export one a line" }),
  next: z.number().int().nullable(),
});

export const tokenNameSchema = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/, "expected 1 to 64 letters, digits, dots, dashes and underscores");

export const tokenViewSchema = z.object({
  name: z.string(),
  role: roleSchema,
  hash: hex32Schema,
  source: z
    .enum(["configuration", "api"])
    .meta({ description: "Where it was made: `cairn.toml`, or this API" }),
  createdAt: timeSchema.nullable(),
  expiresAt: timeSchema.nullable(),
  revokedAt: timeSchema.nullable(),
});
export const tokenListSchema = z.object({ tokens: z.array(tokenViewSchema) });

/** One server-sent event. */
export const eventSchema = z.object({
  id: z.number().int(),
  at: timeSchema,
  type: z.enum([
    "transaction",
    "key",
    "session",
    "peer",
    "violation",
    "ban",
    "change",
    "fence",
    "sync",
    "checkpoint",
    "presignatures",
    "primes",
    "alert",
  ]),
  subject: z.string(),
  state: z.string(),
  data: z.record(z.string(), z.unknown()),
});

export type Health = z.output<typeof healthSchema>;
export type TransactionView = z.output<typeof transactionViewSchema>;
export type RequestView = z.output<typeof requestViewSchema>;
export type TransactionDetail = z.output<typeof transactionDetailSchema>;
export type WalletView = z.output<typeof walletViewSchema>;
export type Balance = z.output<typeof balanceSchema>;
export type BackupView = z.output<typeof backupViewSchema>;
export type BackupList = z.output<typeof backupListSchema>;
export type AddressView = z.output<typeof addressViewSchema>;
export type NodeView = z.output<typeof nodeViewSchema>;
export type ClusterStatus = z.output<typeof clusterStatusSchema>;
export type AlertView = z.output<typeof alertViewSchema>;
export type KeyView = z.output<typeof keyViewSchema>;
export type PresignatureView = z.output<typeof presignatureViewSchema>;
export type PresignatureStatus = z.output<typeof presignatureStatusSchema>;
export type SessionView = z.output<typeof sessionViewSchema>;
export type TokenView = z.output<typeof tokenViewSchema>;
export type PolicyCheck = z.output<typeof policyCheckSchema>;
export type HistoryView = z.output<typeof historyViewSchema>;
export type ProposalView = z.output<typeof proposalViewSchema>;
export type CairnEvent = z.output<typeof eventSchema>;
