import { z } from "zod";
import { CairnError } from "./error.ts";
import { keygenRequestHash, signedKeygenRequestSchema } from "./keygen-request.ts";
import type { Manifest } from "./manifest.ts";
import { publicPackageHash, signedWalletRecordSchema, verifyWalletRecord } from "./wallet-record.ts";

/** Largest public package of a key. */
const MAX_PACKAGE_BYTES = 1024 * 1024;

/** A wallet and all that is public of its key, as one node hands it to another: everything in it hangs on the signatures of all n nodes. */
export const walletProofSchema = z.strictObject({
  version: z.literal(1),
  /** What the key was made for; its hash is the record's `keyId`. */
  request: signedKeygenRequestSchema,
  record: signedWalletRecordSchema,
  /** Its hash is the record's `publicPackage`. */
  publicPackage: z
    .instanceof(Uint8Array)
    .refine(({ length }) => length > 0 && length <= MAX_PACKAGE_BYTES, "expected 1..1048576 bytes"),
});
export type WalletProof = z.output<typeof walletProofSchema>;

/**
 * Checks that all nodes signed the record, and that request and public package are those that it names.
 * @throws CairnError `signature-invalid`, `malformed`
 */
export function verifyWalletProof({ request, record, publicPackage }: WalletProof, manifest: Manifest): void {
  const { wallet, keyId } = record.record;
  if (!verifyWalletRecord(record, manifest))
    throw new CairnError("signature-invalid", "the wallet's record lacks the signatures of all nodes", {
      wallet,
    });
  if (
    keygenRequestHash(request.body) !== keyId ||
    publicPackageHash(publicPackage) !== record.record.publicPackage
  )
    throw new CairnError(
      "malformed",
      "the key's request or public package is not the one that its record names",
      {
        wallet,
        keyId,
      },
    );
}
