import { checkPsbtTimeless, signingInputs } from "@cairn/bitcoin";
import {
  type GrantDocument,
  type GrantJudge,
  grantDocumentSchema,
  verifyKeygenGrant,
  verifySigningGrant,
} from "@cairn/consensus";
import { decodeCanonical, type UnixMs } from "@cairn/core";

/** When a grant may be acted on. */
export interface GrantPeriod {
  readonly from: UnixMs;
  readonly until: UnixMs;
}

/** @throws CairnError `malformed`, `not-canonical`, `too-large` */
export function readGrant(bytes: Uint8Array): GrantDocument {
  return decodeCanonical(grantDocumentSchema, bytes);
}

export function periodOf(document: GrantDocument): GrantPeriod {
  if (document.type === "signing") return { from: document.grant.notBefore, until: document.grant.expiry };
  return { from: document.request.body.createdAt, until: document.request.body.expiry };
}

/**
 * Judges a grant with nothing but the manifest that it names, as nodes do.
 * @throws CairnError the codes of `verifySigningGrant` and `verifyKeygenGrant`
 */
export async function judgeGrant(document: GrantDocument, judge: GrantJudge): Promise<void> {
  if (document.type === "keygen") return verifyKeygenGrant(document, judge);
  await verifySigningGrant(document, {
    ...judge,
    read: async ({ psbt, request, anchor }, wallet) =>
      signingInputs(await checkPsbtTimeless(psbt, wallet, request.body, anchor?.checkpoint ?? null)),
  });
}

/** {@link judgeGrant} whatever the time is: whether the grant was ever good. */
export function judgeProof(document: GrantDocument, judge: Omit<GrantJudge, "now">): Promise<void> {
  return judgeGrant(document, { ...judge, now: periodOf(document).from });
}
