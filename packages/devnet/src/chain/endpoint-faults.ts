import { z } from "zod";

/**
 * How one endpoint misbehaves, for tests of those who ask it. The chain behind it is untouched, and other endpoints
 * over the same chain stay honest. An empty object is an honest endpoint.
 */
export const endpointFaultsSchema = z.strictObject({
  /** Instead of an answer: never one; half of one; a proxy's HTML page with status 200; status 503. */
  answer: z.enum(["hang", "truncate", "html", "unavailable"]).optional(),
  /** Waits this many milliseconds before each answer. */
  delayMs: z.number().int().min(0).max(600_000).optional(),
  /** Adds this many satoshis to every output's value in JSON answers; raw transactions cannot lie. */
  inflateSats: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
  /** Lists in every address's unspent outputs one of this many satoshis that does not exist. */
  phantomSats: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
  /** Shows spent outputs as unspent and hides the transactions that spend from an address without paying to it. */
  hideSpends: z.boolean().optional(),
  /** Knows nothing of this many newest blocks; what they confirm still seems to wait. */
  hideBlocks: z.number().int().min(1).optional(),
  /** Claims this fee rate, in sat/vB, for every target. */
  feeRate: z.number().positive().optional(),
  /** Answers a broadcast as if it had accepted it, and keeps the transaction to itself. */
  swallowBroadcasts: z.boolean().optional(),
});

export type EndpointFaults = z.output<typeof endpointFaultsSchema>;
