import { z } from "zod";
import { CairnError } from "./error.ts";
import type { Signer } from "./identity.ts";
import {
  clusterIdSchema,
  type Ed25519PublicKey,
  ed25519PublicKeySchema,
  type RequestHash,
  requestHashSchema,
  type UnixMs,
  unixMsSchema,
} from "./ids.ts";
import type { Manifest } from "./manifest.ts";
import { type Signed, signBody, signedSchema, verifySigned } from "./signed.ts";
import { MAX_REQUEST_LIFETIME_MS } from "./spend-request.ts";

/**
 * A person's consent to one spend request, for policies that ask for m of k of them, signed by an approver key of the manifest under
 * `cairn/spend-approval/v1`. It names the request's hash and so every recipient and amount; a replacement needs its own.
 */
export const spendApprovalSchema = z
  .strictObject({
    version: z.literal(1),
    cluster: clusterIdSchema,
    requestHash: requestHashSchema,
    /** The approver key that signs. */
    approver: ed25519PublicKeySchema,
    createdAt: unixMsSchema,
    /** After this time it no longer counts for a vote. */
    expiry: unixMsSchema,
  })
  .refine((approval) => approval.expiry > approval.createdAt, "the approval expires before it is made")
  .refine(
    (approval) => approval.expiry - approval.createdAt <= MAX_REQUEST_LIFETIME_MS,
    "the approval outlives every request: it may last seven days",
  );
export type SpendApproval = z.output<typeof spendApprovalSchema>;

export const signedSpendApprovalSchema = signedSchema(spendApprovalSchema);
export type SignedSpendApproval = Signed<SpendApproval>;

export function signSpendApproval(approval: SpendApproval, approver: Signer): SignedSpendApproval {
  return signBody("cairn/spend-approval/v1", approval, approver);
}

/** What an approval is checked against. */
export interface ApprovalContext {
  readonly manifest: Manifest;
  readonly requestHash: RequestHash;
  readonly now: UnixMs;
  /** How far the approver's clock may be ahead, in milliseconds. */
  readonly clockSkewMs: number;
}

/**
 * Checks that an approver of the manifest consents to exactly this request now.
 * @throws CairnError `wrong-cluster`, `wrong-state` (another request), `unknown-approver`, `signature-invalid`, `clock-skew`, `expired`
 */
export function verifySpendApproval(signed: SignedSpendApproval, context: ApprovalContext): void {
  const { body } = signed;
  const { manifest, now } = context;
  if (body.cluster !== manifest.cluster)
    throw new CairnError("wrong-cluster", "the approval is for another cluster");
  if (body.requestHash !== context.requestHash) {
    throw new CairnError(
      "wrong-state",
      "the approval is for another request; approve this one by its own hash",
      {
        named: body.requestHash,
      },
    );
  }
  if (!manifest.approvers.includes(body.approver)) {
    throw new CairnError("unknown-approver", "the approval's key is not one of the manifest's approvers", {
      approver: body.approver,
    });
  }
  if (!verifySigned("cairn/spend-approval/v1", signed, body.approver)) {
    throw new CairnError("signature-invalid", "the approval's signature is not its approver's", {
      approver: body.approver,
    });
  }
  if (body.createdAt > now + context.clockSkewMs) {
    throw new CairnError("clock-skew", "the approval was made in the future; check the clocks", {
      createdAt: body.createdAt,
      now,
    });
  }
  if (body.expiry <= now)
    throw new CairnError("expired", "the approval has expired; approve again", { expiry: body.expiry });
}

/** The approvers whose consent in `approvals` counts now, each once: what policy takes. Whatever does not verify is passed over. */
export function approversOf(
  approvals: readonly SignedSpendApproval[],
  context: ApprovalContext,
): Ed25519PublicKey[] {
  const counted = approvals.filter((approval) => {
    try {
      verifySpendApproval(approval, context);
      return true;
    } catch (error) {
      if (error instanceof CairnError) return false;
      throw error;
    }
  });
  return [...new Set(counted.map((approval) => approval.body.approver))];
}
