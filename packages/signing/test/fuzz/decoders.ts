import { type Decoder, structureDecoder } from "@cairn/core/test-support";
import {
  abortSchema,
  ackSchema,
  broadcastMessageSchema,
  directMessageSchema,
  finalizeSchema,
  nackSchema,
  presignJobSchema,
  presignReadySchema,
  proposalSchema,
  publicPackageWordSchema,
  startSchema,
} from "../../src/index.ts";

/** Every structure of this package that comes from other nodes. */
export const decoders: readonly Decoder[] = [
  structureDecoder("presign-job", presignJobSchema),
  structureDecoder("proposal-presign", proposalSchema),
  structureDecoder("presign-ready", presignReadySchema),
  structureDecoder("proposal", proposalSchema),
  structureDecoder("proposal-keygen", proposalSchema),
  structureDecoder("ack", ackSchema),
  structureDecoder("ack-keygen", ackSchema),
  structureDecoder("nack", nackSchema),
  structureDecoder("start", startSchema),
  structureDecoder("abort", abortSchema),
  structureDecoder("finalize", finalizeSchema),
  structureDecoder("round-broadcast", broadcastMessageSchema),
  structureDecoder("round-direct", directMessageSchema),
  structureDecoder("public-package-word", publicPackageWordSchema),
];
