import {
  apiRequestSchema,
  auditEntrySchema,
  banLiftSchema,
  changeCommitSchema,
  changeProposalSchema,
  changeVoteSchema,
  checkpointSchema,
  decodeEnvelope,
  Ed25519Signer,
  encodeCanonical,
  envelopeHeaderSchema,
  fenceAnswerSchema,
  fenceChallengeSchema,
  fromHex,
  keygenApprovalSchema,
  keygenRequestSchema,
  manifestSchema,
  policySchema,
  readPrivateKey,
  SealingKey,
  signedCheckpointSchema,
  spendApprovalSchema,
  spendRequestSchema,
  syncAnswerSchema,
  syncRequestSchema,
  toHex,
  walletRecordSchema,
} from "../../src/index.ts";
import {
  type Decoder,
  readProtocolExamples,
  structureDecoder,
  textDecoder,
} from "../../test-support/index.ts";

const frame = fromHex(readProtocolExamples().examples["envelope-frame"]?.encoded ?? "");

/** Everything in core that reads bytes or text of strangers. */
export const decoders: readonly Decoder[] = [
  structureDecoder("policy", policySchema),
  structureDecoder("genesis-manifest", manifestSchema),
  structureDecoder("successor-manifest", manifestSchema),
  structureDecoder("keygen-request", keygenRequestSchema),
  structureDecoder("keygen-approval", keygenApprovalSchema),
  structureDecoder("wallet-record", walletRecordSchema),
  structureDecoder("spend-request", spendRequestSchema),
  structureDecoder("spend-approval", spendApprovalSchema),
  structureDecoder("fence-challenge", fenceChallengeSchema),
  structureDecoder("fence-answer", fenceAnswerSchema),
  structureDecoder("sync-request", syncRequestSchema),
  structureDecoder("sync-answer", syncAnswerSchema),
  structureDecoder("api-request", apiRequestSchema),
  structureDecoder("ban-lift", banLiftSchema),
  structureDecoder("change-proposal-manifest", changeProposalSchema),
  structureDecoder("change-vote-refusal", changeVoteSchema),
  structureDecoder("change-commit", changeCommitSchema),
  structureDecoder("checkpoint", checkpointSchema),
  structureDecoder("signed-checkpoint", signedCheckpointSchema),
  structureDecoder("audit-entry", auditEntrySchema),
  structureDecoder("envelope-header", envelopeHeaderSchema),
  { name: "envelope", samples: [frame], decode: decodeEnvelope, encode: encodeCanonical },
  textDecoder(
    "hex",
    ["", "00ff", "0123456789abcdef"],
    (text) => {
      const bytes = fromHex(text);
      return { bytes, text };
    },
    ({ bytes, text }) => (toHex(bytes) === text.toLowerCase() ? text : toHex(bytes)),
  ),
  {
    name: "private-key",
    samples: [Ed25519Signer.generate().toPem()],
    decode: (input) => readPrivateKey(input, "ed25519"),
  },
  {
    name: "sealing-key",
    samples: [SealingKey.generate().toPem()],
    decode: (input) => SealingKey.fromPem(input),
  },
];
