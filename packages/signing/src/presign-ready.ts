import {
  type PublicDataAcceptance,
  type SignedPublicDataAcceptance,
  signedPublicDataAcceptanceSchema,
} from "@cairn/consensus";
import {
  type ClusterId,
  clusterIdSchema,
  type HashHex,
  type NodeIndex,
  type PresignatureId,
  type SessionId,
  type Signer,
  sessionIdSchema,
  sha256Hex,
  signBody,
} from "@cairn/core";
import { z } from "zod";
import { MAX_PRESIGN_ITEMS } from "./presign-job.ts";

/**
 * A signer's words on what a session made: for each presignature the hash of its public data, each signed on its own under
 * `cairn/presignature-data/v1`, since each is evidence on its own. A presignature becomes ready when the words of all its signers agree.
 */
export const presignReadySchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  session: sessionIdSchema,
  acceptances: z.array(signedPublicDataAcceptanceSchema).min(1).max(MAX_PRESIGN_ITEMS),
});
export type PresignReady = z.output<typeof presignReadySchema>;

/** What one node signs of one presignature. */
export function publicDataAcceptance(input: {
  readonly cluster: ClusterId;
  readonly node: NodeIndex;
  readonly presignatureId: PresignatureId;
  readonly signers: readonly NodeIndex[];
  readonly publicData: Uint8Array;
}): PublicDataAcceptance {
  const { cluster, node, signers } = input;
  return {
    version: 1,
    cluster,
    subject: hashOf(input.presignatureId),
    signers: [...signers],
    publicData: sha256Hex(input.publicData) as HashHex,
    node,
  };
}

/** This node's message on what a presign session made: the payload of kind `presign-ready`, for all signers. */
export function makePresignReady(
  session: SessionId,
  acceptances: readonly PublicDataAcceptance[],
  cluster: ClusterId,
  signer: Signer,
): PresignReady {
  return {
    version: 1,
    cluster,
    session,
    acceptances: acceptances.map(
      (body): SignedPublicDataAcceptance => signBody("cairn/presignature-data/v1", body, signer),
    ),
  };
}

function hashOf(id: PresignatureId): HashHex {
  return id as string as HashHex;
}
