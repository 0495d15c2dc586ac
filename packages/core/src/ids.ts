import { z } from "zod";

declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/**
 * `schema`, with outputs of the branded type `T`. Only the types know of brands: a transformation that returns its input would cost more than the
 * check itself.
 */
function branded<T>() {
  return <Schema extends z.ZodType>(schema: T extends z.output<Schema> ? Schema : never) =>
    schema as unknown as z.ZodType<T, z.input<Schema>>;
}

/** Lower-case hex of a 32-byte value. */
const hash32 = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 lower-case hexadecimal digits");

/** Position of a node in the manifest, 1..n. Zero never names a node: FROST forbids it as an identifier. */
export type NodeIndex = Brand<number, "NodeIndex">;
export const nodeIndexSchema = branded<NodeIndex>()(z.number().int().min(1).max(255));

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
export const unixMsSchema = branded<UnixMs>()(z.number().int().min(0).max(8_640_000_000_000_000));

/** Cluster: SHA-256 of the genesis manifest's body without its id. */
export type ClusterId = Brand<string, "ClusterId">;
export const clusterIdSchema = branded<ClusterId>()(hash32);

/** Hash of a manifest body. */
export type ManifestHash = Brand<string, "ManifestHash">;
export const manifestHashSchema = branded<ManifestHash>()(hash32);

/** Hash of the `KeygenRequest` that made the key. */
export type KeyId = Brand<string, "KeyId">;
export const keyIdSchema = branded<KeyId>()(hash32);

/** Hash of the wallet's descriptor text (BIP-380, with checksum). */
export type WalletId = Brand<string, "WalletId">;
export const walletIdSchema = branded<WalletId>()(hash32);

/** Hash of a `SpendRequest`. */
export type RequestHash = Brand<string, "RequestHash">;
export const requestHashSchema = branded<RequestHash>()(hash32);

/** Hash of an `Intent`. */
export type IntentHash = Brand<string, "IntentHash">;
export const intentHashSchema = branded<IntentHash>()(hash32);

/** The first request of a chain of replacements names the lineage. */
export type LineageId = Brand<string, "LineageId">;
export const lineageIdSchema = branded<LineageId>()(hash32);

export type GrantId = Brand<string, "GrantId">;
export const grantIdSchema = branded<GrantId>()(hash32);

export type SessionId = Brand<string, "SessionId">;
export const sessionIdSchema = branded<SessionId>()(hash32);

/** Domain of one MPC execution: H(sessionId ‖ a fresh nonce of every signer). */
export type ExecutionId = Brand<string, "ExecutionId">;
export const executionIdSchema = branded<ExecutionId>()(hash32);

export type PresignatureId = Brand<string, "PresignatureId">;
export const presignatureIdSchema = branded<PresignatureId>()(hash32);

/** Bitcoin transaction id, in the reversed byte order in which people read it. */
export type Txid = Brand<string, "Txid">;
export const txidSchema = branded<Txid>()(hash32);

/** Ed25519 public key (RFC 8032), 32 bytes in hex. */
export type Ed25519PublicKey = Brand<string, "Ed25519PublicKey">;
export const ed25519PublicKeySchema = branded<Ed25519PublicKey>()(hash32);

/** X25519 public key (RFC 7748), 32 bytes in hex. */
export type X25519PublicKey = Brand<string, "X25519PublicKey">;
export const x25519PublicKeySchema = branded<X25519PublicKey>()(hash32);

/** Ed25519 signature, 64 bytes in hex. */
export type SignatureHex = Brand<string, "SignatureHex">;
export const signatureHexSchema = branded<SignatureHex>()(
  z.string().regex(/^[0-9a-f]{128}$/, "expected 128 lower-case hexadecimal digits"),
);

/** 32 random bytes in hex. */
export type Nonce = Brand<string, "Nonce">;
export const nonceSchema = branded<Nonce>()(hash32);

/** A SHA-256 of something without an id type of its own. */
export type HashHex = Brand<string, "HashHex">;
export const hashHexSchema = branded<HashHex>()(hash32);

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
