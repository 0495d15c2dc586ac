import { z } from "zod";
import { domainHash, sha256Hex } from "./canonical.ts";
import { verifySignature } from "./identity.ts";
import {
  clusterIdSchema,
  type HashHex,
  hashHexSchema,
  keyIdSchema,
  nodeIndexSchema,
  protocolSchema,
  signatureHexSchema,
  unixMsSchema,
  type WalletId,
  walletIdSchema,
} from "./ids.ts";
import type { Manifest } from "./manifest.ts";
import { networkSchema } from "./network.ts";

/** What a wallet is. All n nodes sign it at the end of keygen; clients derive addresses from it and from nothing else. */
export const walletRecordSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  wallet: walletIdSchema,
  label: z.string().min(1).max(64),
  network: networkSchema,
  /** BIP-380 text with checksum: `wpkh(xpub/<0;1>/*)#…` or `tr(xpub/<0;1>/*)#…`. */
  descriptor: z.string().min(1).max(512),
  keyId: keyIdSchema,
  protocol: protocolSchema,
  /** Hash of the key's public package under `cairn/public-package/v1`. */
  publicPackage: hashHexSchema,
  /** The key's creation time, from the keygen request: where a scan of the chain may begin. */
  birthday: unixMsSchema,
});
export type WalletRecord = z.output<typeof walletRecordSchema>;

/** A record with its nodes' signatures under `cairn/wallet-record/v1`, ascending by node. */
export const signedWalletRecordSchema = z.strictObject({
  record: walletRecordSchema,
  signatures: z.array(z.strictObject({ node: nodeIndexSchema, signature: signatureHexSchema })).max(255),
});
export type SignedWalletRecord = z.output<typeof signedWalletRecordSchema>;

/** The id of the wallet with this descriptor text: SHA-256 of its UTF-8. */
export function walletIdOf(descriptor: string): WalletId {
  return sha256Hex(Buffer.from(descriptor, "utf8")) as WalletId;
}

/** The hash of a key's public package that records and approvals carry. */
export function publicPackageHash(publicPackage: Uint8Array): HashHex {
  return domainHash("cairn/public-package/v1", publicPackage) as HashHex;
}

/** Whether every member of `manifest` signed `signed`, once, and the record is of that cluster and names its descriptor. */
export function verifyWalletRecord(signed: SignedWalletRecord, manifest: Manifest): boolean {
  const { record, signatures } = signed;
  if (record.cluster !== manifest.cluster || record.network !== manifest.network) return false;
  if (record.wallet !== walletIdOf(record.descriptor)) return false;
  if (signatures.length !== manifest.members.length) return false;
  return manifest.members.every((member) => {
    const own = signatures.filter((entry) => entry.node === member.index);
    const first = own[0];
    return (
      own.length === 1 &&
      first !== undefined &&
      verifySignature("cairn/wallet-record/v1", record, member.identity, first.signature)
    );
  });
}
