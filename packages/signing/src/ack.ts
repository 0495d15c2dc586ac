import {
  clusterIdSchema,
  hashHexSchema,
  nodeIndexSchema,
  nonceSchema,
  sessionIdSchema,
  signedSchema,
  x25519PublicKeySchema,
} from "@cairn/core";
import { z } from "zod";

/** A signer's word that it will take part in exactly this proposal. Signed under `cairn/ack/v1`. */
export const ackSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  session: sessionIdSchema,
  node: nodeIndexSchema,
  /** Hash of the proposal: an initiator who tells signers different things gets Acks that do not match. */
  proposalHash: hashHexSchema,
  /** 32 fresh bytes of this signer. */
  nonce: nonceSchema,
  /** Key generation: to this key the session's messages are sealed, and it is forgotten with the session. Else null. */
  sealing: x25519PublicKeySchema.nullable(),
});
export type Ack = z.output<typeof ackSchema>;

export const signedAckSchema = signedSchema(ackSchema);
export type SignedAck = z.output<typeof signedAckSchema>;
