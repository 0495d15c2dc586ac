import {
  clusterIdSchema,
  ed25519PublicKeySchema,
  networkSchema,
  nonceSchema,
  requestHashSchema,
  type SignedKeygenRequest,
  type SignedSpendRequest,
  type SpendRequest,
  satsSchema,
  signatureHexSchema,
  signedKeygenRequestSchema,
  signedSpendApprovalSchema,
  unixMsSchema,
  walletIdSchema,
} from "@cairn/core";
import { z } from "zod";

/** An amount in satoshi as JSON carries it: a decimal string, since a number loses what is above 2⁵³. */
export const satsTextSchema = z
  .string()
  .regex(/^(0|[1-9][0-9]{0,15})$/, "expected a whole number of satoshi as a decimal string")
  .meta({ description: "Amount in satoshi, decimal string", example: "150000" });

/** The amount of a {@link satsTextSchema}, as a bigint within Bitcoin's range. */
export const satsFromText = satsTextSchema
  .transform((text): bigint | number => BigInt(text))
  .pipe(satsSchema);

/** A point in time as JSON carries it. */
export const timeSchema = z.iso.datetime().meta({ description: "Time, ISO 8601 in UTC" });

/** A {@link timeSchema}, as milliseconds since the Unix epoch. */
export const instantSchema = timeSchema.transform((text): number => Date.parse(text)).pipe(unixMsSchema);

export const hex32Schema = z
  .string()
  .regex(/^[0-9a-f]{64}$/, "expected 64 lower-case hexadecimal digits")
  .meta({ description: "32 bytes, lower-case hexadecimal" });

/** `SpendRequest` with its amounts as decimal strings; everything else as in the signed structure. */
export const spendRequestJsonSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  network: networkSchema,
  wallet: walletIdSchema,
  outputs: z
    .array(z.strictObject({ address: z.string().min(1).max(128), amountSats: satsFromText }))
    .min(1)
    .max(200),
  maxFeeSats: satsFromText,
  feeRateSatsPerKvb: z.number().int().min(1000).max(10_000_000).nullable(),
  nonce: nonceSchema,
  createdAt: unixMsSchema,
  expiry: unixMsSchema,
  replaces: requestHashSchema.nullable(),
  requester: ed25519PublicKeySchema,
});

/** The body of `POST /api/v1/transactions`: what the owner asks for, and the owner's signature on it. */
export const signedSpendRequestJsonSchema = z.strictObject({
  request: spendRequestJsonSchema,
  signature: signatureHexSchema,
});

const wholeSats = z
  .number()
  .int()
  .positive()
  .transform((value): bigint | number => value)
  .pipe(satsSchema);

/** The bare form, accepted only where the manifest allows unsigned requests (regtest). */
export const bareSpendSchema = z.strictObject({
  recipient: z.string().min(1).max(128),
  amount_sats: z.union([satsFromText, wholeSats]),
});

/** A spend request with its amounts as text. */
export function spendRequestText(body: SpendRequest): z.output<typeof spendRequestTextSchema> {
  return {
    ...body,
    outputs: body.outputs.map(({ address, amountSats }) => ({ address, amountSats: amountSats.toString() })),
    maxFeeSats: body.maxFeeSats.toString(),
  };
}

/** JSON of a signed spend request, as the API takes it. */
export function spendRequestToJson(signed: SignedSpendRequest): z.input<typeof signedSpendRequestJsonSchema> {
  return { request: spendRequestText(signed.body), signature: signed.signature };
}

/** {@link spendRequestJsonSchema} as a node answers with it: amounts stay text. */
export const spendRequestTextSchema = spendRequestJsonSchema.extend({
  outputs: z.array(z.object({ address: z.string(), amountSats: satsTextSchema })),
  maxFeeSats: satsTextSchema,
});

/** JSON of a signed approval: it holds no amounts, so it is the structure itself. */
export const spendApprovalJsonSchema = signedSpendApprovalSchema;

/** JSON of a signed keygen request: it holds no amounts, so it is the structure itself. */
export const keygenRequestJsonSchema = signedKeygenRequestSchema;
export type KeygenRequestJson = SignedKeygenRequest;
