import {
  CairnError,
  keygenRequestHash,
  type Manifest,
  type ManifestHash,
  type SignedWalletRecord,
  signedKeygenApprovalSchema,
  signedKeygenRequestSchema,
  signedWalletRecordSchema,
  type UnixMs,
  verifyMemberWord,
  verifyWalletRecord,
  type WalletRecord,
} from "@cairn/core";
import { z } from "zod";
import { type GrantInput, type GrantStanding, grantProofSchema, grantSchema, verifyGrant } from "./grant.ts";
import { checkIntentForm, type Intent, intentSchema } from "./intent.ts";
import { checkKeygenRequest } from "./keygen-approvals.ts";

/** A grant to sign with all that it follows from, so that the manifest alone is enough to judge it. */
export const signingGrantSchema = z.strictObject({
  version: z.literal(1),
  type: z.literal("signing"),
  grant: grantSchema,
  proof: grantProofSchema,
  /** The grant's. */
  intent: intentSchema,
  /** The record of the grant's wallet, which all n nodes signed. */
  wallet: signedWalletRecordSchema,
});
export type SigningGrant = z.output<typeof signingGrantSchema>;

/** Permission to make one key: an operator's request, and the approvals of all n nodes. */
export const keygenGrantSchema = z.strictObject({
  version: z.literal(1),
  type: z.literal("keygen"),
  request: signedKeygenRequestSchema,
  /** Ascending by node, one of each member. */
  approvals: z.array(signedKeygenApprovalSchema).max(255),
});
export type KeygenGrant = z.output<typeof keygenGrantSchema>;

/** What `/grant/*` serves, and anybody verifies without asking a node. */
export const grantDocumentSchema = z.discriminatedUnion("type", [signingGrantSchema, keygenGrantSchema]);
export type GrantDocument = z.output<typeof grantDocumentSchema>;

/** What a grant is held against: the manifest that it names, and the time. */
export interface GrantJudge {
  readonly manifest: Manifest;
  readonly manifestHash: ManifestHash;
  readonly now: UnixMs;
}

/** {@link GrantJudge} for grants to sign. */
export interface SigningGrantJudge extends GrantJudge {
  /**
   * The judge's own reading of the intent's PSBT: what it signs, in the order of its inputs.
   * @throws CairnError where the PSBT does not do what the request asks
   */
  readonly read: (intent: Intent, wallet: WalletRecord) => Promise<readonly GrantInput[]>;
  /** When the judge first saw the intent; who sees it for the first time believes its date. */
  readonly firstSeenAt?: UnixMs;
  /** What the judge knows of the grant's use; who has no store knows nothing. */
  readonly standing?: GrantStanding;
}

/**
 * Judges a grant to sign: wallet record, owner's request, intent, every field of the grant, and its proof.
 * @throws CairnError the codes of {@link checkIntentForm}, {@link verifyGrant} and of `read`; `wrong-wallet` when the record is not the
 * wallet's, `signature-invalid` when not all nodes signed it
 */
export async function verifySigningGrant(document: SigningGrant, judge: SigningGrantJudge): Promise<void> {
  const { grant, proof, intent, wallet } = document;
  const { manifest, manifestHash, now } = judge;
  checkIntentForm(intent, { manifest, manifestHash });
  checkWallet(wallet, intent, manifest);
  const inputs = await judge.read(intent, wallet.record);
  verifyGrant(
    grant,
    {
      intent,
      manifest,
      manifestHash,
      wallet: wallet.record,
      inputs,
      firstSeenAt: judge.firstSeenAt ?? intent.createdAt,
      standing: judge.standing ?? "new",
    },
    proof,
    now,
  );
}

function checkWallet(wallet: SignedWalletRecord, intent: Intent, manifest: Manifest): void {
  const { record } = wallet;
  if (record.cluster !== manifest.cluster) {
    throw new CairnError("wrong-cluster", "the grant's wallet record is for another cluster");
  }
  if (record.wallet !== intent.wallet) {
    throw new CairnError("wrong-wallet", "the grant's wallet record is not that of the intent's wallet", {
      wallet: record.wallet,
    });
  }
  if (!verifyWalletRecord(wallet, manifest)) {
    throw new CairnError("signature-invalid", "not all nodes signed the grant's wallet record", {
      wallet: record.wallet,
    });
  }
}

/**
 * Judges a grant to make a key: the operator's request, and the approvals of all members.
 * @throws CairnError the codes of {@link checkKeygenRequest} but for those of the clock; `not-member`, `signature-invalid`; `grant-invalid`
 * (an approval of another key, a refusal, or not one of each node in order), `quorum-missing`, `grant-expired`
 */
export function verifyKeygenGrant({ request, approvals }: KeygenGrant, judge: GrantJudge): void {
  const { manifest, manifestHash, now } = judge;
  // Held against its own date: whether its time is over is asked last, and whether it has come does not matter to a proof.
  checkKeygenRequest(request, { manifest, manifestHash, now: request.body.createdAt, clockSkewMs: 0 });
  const keyId = keygenRequestHash(request.body);
  for (const approval of approvals) {
    const { node } = approval.body;
    verifyMemberWord("cairn/keygen-approval/v1", approval, node, manifest);
    if (approval.body.keyId !== keyId || !approval.body.approve || approval.body.reason !== null) {
      throw new CairnError("grant-invalid", `the word of node ${node} does not approve this key`, {
        field: "approvals",
        node,
      });
    }
  }
  if (approvals.some(({ body }, at) => body.node <= (approvals[at - 1]?.body.node ?? 0))) {
    throw new CairnError("grant-invalid", "the approvals must ascend by node, one a node", {
      field: "approvals",
    });
  }
  if (approvals.length < manifest.members.length) {
    throw new CairnError(
      "quorum-missing",
      `the grant holds ${approvals.length} approvals, and a key needs those of all ${manifest.members.length} nodes`,
      { approvals: approvals.length, needed: manifest.members.length },
    );
  }
  if (now >= request.body.expiry) {
    throw new CairnError("grant-expired", "the grant has expired; sign a new keygen request", {
      expiry: request.body.expiry,
      now,
    });
  }
}
