import { z } from "zod";
import { decodeCanonical, encodeCanonical } from "./canonical.ts";
import { type UnixMs, unixMsSchema } from "./ids.ts";
import type { StoreWrite } from "./ports/node-store.ts";
import { MAX_REQUEST_LIFETIME_MS } from "./spend-request.ts";

/** Key of a store's `meta` under which a restore leaves its {@link Amnesia}. It stays there for good. */
export const AMNESIA_KEY = "amnesia";

/** What a restore says of the database that it wrote: this node may have signed more than is in it. */
export const amnesiaSchema = z.strictObject({
  version: z.literal(1),
  /** When the database was restored, by the clock of the machine that did it. */
  restoredAt: unixMsSchema,
});
export type Amnesia = z.output<typeof amnesiaSchema>;

/** The write that marks a fresh database as restored at `restoredAt`. */
export function amnesiaWrite(restoredAt: UnixMs): Extract<StoreWrite, { readonly write: "meta" }> {
  const amnesia: Amnesia = { version: 1, restoredAt };
  return { write: "meta", key: AMNESIA_KEY, value: encodeCanonical(amnesia) };
}

/**
 * What the value of {@link AMNESIA_KEY} says; null where the database was never restored.
 * @throws CairnError `malformed`, `not-canonical`
 */
export function decodeAmnesia(value: Uint8Array | null): Amnesia | null {
  return value === null ? null : decodeCanonical(amnesiaSchema, value);
}

/**
 * Until when requests may expire that this node may have taken part in before its restore: those that expire later were made after it
 * (architecture §7). On lineages with one that expires by then it abstains for good.
 */
export function forgottenUntil({ restoredAt }: Amnesia): UnixMs {
  return (restoredAt + MAX_REQUEST_LIFETIME_MS) as UnixMs;
}
