import { transactionStates } from "@cairn/core";
import { z } from "zod";
import { hex32Schema, timeSchema } from "./json.ts";
import { approvalsViewSchema } from "./views.ts";

const nodeIndex = z.number().int().min(1).max(255);
const granted = z.literal("granted");
const waiting = z.literal("waiting");
const again = z.string().meta({ description: "Path to ask again at" });
const document = z.base64().meta({
  description: "Canonical `GrantDocument`: the grant with all that proves it, for `cairn grant verify`",
});

/** A grant to sign. What stands in it never changes. */
export const signingGrantViewSchema = z.object({
  status: granted,
  grant: hex32Schema.meta({ description: "The grant's id" }),
  request: hex32Schema,
  intent: hex32Schema,
  txid: hex32Schema,
  wallet: hex32Schema,
  keyId: hex32Schema,
  notBefore: timeSchema,
  expiry: timeSchema,
  document,
});

/** What a spend lacks before its grant is there. */
export const signingGrantWaitSchema = z.object({
  status: waiting,
  request: hex32Schema,
  intent: hex32Schema,
  txid: hex32Schema,
  state: z.enum(transactionStates),
  explanation: z.string().nullable(),
  approvals: approvalsViewSchema.nullable().meta({
    description: "What people must say before nodes vote; null where policy asks for nothing",
  }),
  approved: z.array(nodeIndex).meta({ description: "Nodes that approved in the newest round of voting" }),
  needed: z.number().int().meta({ description: "Nodes that must approve in one round" }),
  expiry: timeSchema,
  again,
});

/** A grant to make a key. */
export const keygenGrantViewSchema = z.object({
  status: granted,
  keyId: hex32Schema,
  expiry: timeSchema,
  document,
});

export const keygenGrantWaitSchema = z.object({
  status: waiting,
  keyId: hex32Schema,
  approved: z.array(nodeIndex).meta({ description: "Nodes that approved; it takes all" }),
  needed: z.number().int(),
  expiry: timeSchema,
  again,
});

export const grantCheckSchema = z.object({
  node: nodeIndex,
  type: z.enum(["signing", "keygen"]),
  subject: hex32Schema.meta({ description: "The grant's id, or the key's" }),
  standing: z.enum(["new", "live"]).meta({
    description: "live: this node knows what the grant is for; new: it sees it for the first time",
  }),
  expiry: timeSchema,
});

export type SigningGrantView = z.output<typeof signingGrantViewSchema>;
export type SigningGrantWait = z.output<typeof signingGrantWaitSchema>;
export type KeygenGrantView = z.output<typeof keygenGrantViewSchema>;
export type KeygenGrantWait = z.output<typeof keygenGrantWaitSchema>;
