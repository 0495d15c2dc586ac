import { type Decoder, structureDecoder } from "@cairn/core/test-support";
import {
  accusationSchema,
  authorisedGrantSchema,
  broadcastSchema,
  certificateSchema,
  deferralSchema,
  ecdsaPublicDataSchema,
  evidenceSchema,
  grantSchema,
  intentSchema,
  partialSignatureSchema,
  publicDataAcceptanceSchema,
  voidSchema,
  voteSchema,
} from "../../src/index.ts";

/** Every structure of this package that comes from other nodes. */
export const decoders: readonly Decoder[] = [
  structureDecoder("intent", intentSchema),
  structureDecoder("vote", voteSchema),
  structureDecoder("vote-rejection", voteSchema),
  structureDecoder("deferral", deferralSchema),
  structureDecoder("void", voidSchema),
  structureDecoder("certificate", certificateSchema),
  structureDecoder("grant", grantSchema),
  structureDecoder("authorised-grant", authorisedGrantSchema),
  structureDecoder("broadcast", broadcastSchema),
  structureDecoder("presign-acceptance", publicDataAcceptanceSchema),
  structureDecoder("partial", partialSignatureSchema),
  structureDecoder("evidence-double-vote", evidenceSchema),
  structureDecoder("evidence-minority-vote", evidenceSchema),
  structureDecoder("evidence-equivocation", evidenceSchema),
  structureDecoder("evidence-invalid-partial", evidenceSchema),
  structureDecoder("evidence-false-accusation", evidenceSchema),
  structureDecoder("accusation", accusationSchema),
  structureDecoder("presignature-public-data", ecdsaPublicDataSchema),
];
