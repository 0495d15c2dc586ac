import { z } from "zod";

declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** Lower-case hex of a 32-byte value. */
const hash32 = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 lower-case hexadecimal digits");

/** Position of a node in the manifest, 1..n. Zero never names a node: FROST forbids it as an identifier. */
export type NodeIndex = Brand<number, "NodeIndex">;
export const nodeIndexSchema = z
  .number()
  .int()
  .min(1)
  .max(255)
  .transform((v) => v as NodeIndex);

/** An amount in satoshi, 0 ≤ amount ≤ 21,000,000 BTC. */
export type Sats = Brand<bigint, "Sats">;
/** 21,000,000 BTC in satoshi, Bitcoin's MAX_MONEY. */
export const MAX_MONEY = 2_100_000_000_000_000n;
export const satsSchema = z
  .union([z.bigint(), z.number().int()])
  .transform((v) => BigInt(v))
  .pipe(
    z
      .bigint()
      .min(0n, "an amount is not negative")
      .max(MAX_MONEY, "more than the 21,000,000 BTC that will ever exist; check the unit: satoshi, not BTC"),
  )
  .transform((v) => v as Sats);

/** Milliseconds since the Unix epoch. */
export type UnixMs = Brand<number, "UnixMs">;
export const unixMsSchema = z
  .number()
  .int()
  .min(0)
  .max(8_640_000_000_000_000)
  .transform((v) => v as UnixMs);

/** Cluster: SHA-256 of the genesis manifest's body without its id. */
export type ClusterId = Brand<string, "ClusterId">;
export const clusterIdSchema = hash32.transform((v) => v as ClusterId);

/** Hash of a manifest body. */
export type ManifestHash = Brand<string, "ManifestHash">;
export const manifestHashSchema = hash32.transform((v) => v as ManifestHash);

/** Hash of the `KeygenRequest` that made the key. */
export type KeyId = Brand<string, "KeyId">;
export const keyIdSchema = hash32.transform((v) => v as KeyId);

/** Hash of the wallet's descriptor text (BIP-380, with checksum). */
export type WalletId = Brand<string, "WalletId">;
export const walletIdSchema = hash32.transform((v) => v as WalletId);

/** Hash of a `SpendRequest`. */
export type RequestHash = Brand<string, "RequestHash">;
export const requestHashSchema = hash32.transform((v) => v as RequestHash);

/** Hash of an `Intent`. */
export type IntentHash = Brand<string, "IntentHash">;
export const intentHashSchema = hash32.transform((v) => v as IntentHash);

/** The first request of a chain of replacements names the lineage. */
export type LineageId = Brand<string, "LineageId">;
export const lineageIdSchema = hash32.transform((v) => v as LineageId);

export type GrantId = Brand<string, "GrantId">;
export const grantIdSchema = hash32.transform((v) => v as GrantId);

export type SessionId = Brand<string, "SessionId">;
export const sessionIdSchema = hash32.transform((v) => v as SessionId);

/** Domain of one MPC execution: H(sessionId ‖ a fresh nonce of every signer). */
export type ExecutionId = Brand<string, "ExecutionId">;
export const executionIdSchema = hash32.transform((v) => v as ExecutionId);

export type PresignatureId = Brand<string, "PresignatureId">;
export const presignatureIdSchema = hash32.transform((v) => v as PresignatureId);

/** Bitcoin transaction id, in the reversed byte order in which people read it. */
export type Txid = Brand<string, "Txid">;
export const txidSchema = hash32.transform((v) => v as Txid);

/** Ed25519 public key (RFC 8032), 32 bytes in hex. */
export type Ed25519PublicKey = Brand<string, "Ed25519PublicKey">;
export const ed25519PublicKeySchema = hash32.transform((v) => v as Ed25519PublicKey);

/** X25519 public key (RFC 7748), 32 bytes in hex. */
export type X25519PublicKey = Brand<string, "X25519PublicKey">;
export const x25519PublicKeySchema = hash32.transform((v) => v as X25519PublicKey);

/** Ed25519 signature, 64 bytes in hex. */
export type SignatureHex = Brand<string, "SignatureHex">;
export const signatureHexSchema = z
  .string()
  .regex(/^[0-9a-f]{128}$/, "expected 128 lower-case hexadecimal digits")
  .transform((v) => v as SignatureHex);

/** 32 random bytes in hex. */
export type Nonce = Brand<string, "Nonce">;
export const nonceSchema = hash32.transform((v) => v as Nonce);

/** A SHA-256 of something without an id type of its own. */
export type HashHex = Brand<string, "HashHex">;
export const hashHexSchema = hash32.transform((v) => v as HashHex);

/** `change` 0 is receive, 1 is change; both steps unhardened (BIP-32). */
export type KeyPath = readonly [change: 0 | 1, index: number];
export const keyPathSchema = z.tuple([
  z.union([z.literal(0), z.literal(1)]),
  z.number().int().min(0).max(0x7fffffff),
]);

/** A transaction output by transaction id and position. */
export const outpointSchema = z.strictObject({
  txid: txidSchema,
  vout: z.number().int().min(0).max(0xffffffff),
});
export type Outpoint = z.output<typeof outpointSchema>;

/** `txid:vout`, the text form of an outpoint, for keys and messages. */
export function outpointText(outpoint: Outpoint): string {
  return `${outpoint.txid}:${outpoint.vout}`;
}

/** Signature scheme of a key: CGGMP24 threshold ECDSA (P2WPKH) or FROST (P2TR). */
export const protocolSchema = z.enum(["cggmp24", "frost"]);
export type Protocol = z.output<typeof protocolSchema>;
