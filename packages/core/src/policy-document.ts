import { z } from "zod";
import { ed25519PublicKeySchema, type HashHex, satsSchema } from "./ids.ts";
import { bodyHash } from "./signed.ts";

const limit = satsSchema.nullable();

/** Rules for spending. Null switches a rule off. The manifest pins the document's hash and version. */
export const policySchema = z.strictObject({
  version: z.literal(1),
  /** The manifest's `policyVersion`. */
  policyVersion: z.number().int().min(1),
  /** Most that one transaction may pay to its recipients together, fee not counted. */
  perTransactionMaxSats: limit,
  /** Most that all lineages of a rolling 24 hours may pay out, each with its whole fee allowance. */
  rolling24hMaxSats: limit,
  /** Most that any one address may receive in a rolling 24 hours. */
  perDestination24hMaxSats: limit,
  /** The only addresses that may be paid. */
  whitelist: z.array(z.string().min(1).max(128)).max(10_000).nullable(),
  /** Most that a transaction may pay to miners, in satoshi. */
  feeCeilingSats: limit,
  /** Highest fee rate, in satoshi per 1,000 virtual bytes. */
  feeRateCeilingSatsPerKvb: z.number().int().min(1000).max(10_000_000).nullable(),
  /** At most `count` lineages reserved in any `windowMs`. */
  rateLimit: z
    .strictObject({
      count: z.number().int().min(1).max(1_000_000),
      windowMs: z
        .number()
        .int()
        .min(1000)
        .max(30 * 24 * 60 * 60 * 1000),
    })
    .nullable(),
  /** Time between an intent and its first signature, in milliseconds. Must be the manifest's `policyDelayMs`. */
  delayMs: z
    .number()
    .int()
    .min(0)
    .max(6 * 24 * 60 * 60 * 1000),
  /** Transactions that pay more than `aboveSats` need `m` of these people's approvals before nodes vote. */
  approvals: z
    .strictObject({
      m: z.number().int().min(1).max(64),
      keys: z.array(ed25519PublicKeySchema).min(1).max(64),
      aboveSats: satsSchema,
    })
    .refine((rule) => rule.m <= rule.keys.length, "m is larger than the number of keys")
    .refine((rule) => new Set(rule.keys).size === rule.keys.length, "a key is listed twice")
    .nullable(),
});
export type Policy = z.output<typeof policySchema>;

/** What the manifest pins as `policy`. */
export function policyHash(policy: Policy): HashHex {
  return bodyHash<HashHex>("cairn/policy/v1", policy);
}
