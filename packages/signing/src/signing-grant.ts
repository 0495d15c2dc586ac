import type { Grant } from "@cairn/consensus";

/** What signing needs to know of a verified grant. */
export type SigningGrant = Pick<
  Grant,
  "grantId" | "keyId" | "participants" | "threshold" | "notBefore" | "expiry" | "nonce" | "protocolVersion"
> & { readonly inputs: readonly Pick<Grant["inputs"][number], "sighash" | "path">[] };
