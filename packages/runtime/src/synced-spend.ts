import {
  type Certificate,
  certificateSchema,
  checkIntentForm,
  type Intent,
  intentHash,
  intentSchema,
  type SignedVoid,
  type SignedVote,
  signedVoidSchema,
  signedVoteSchema,
  verifyCertificate,
  verifyVoid,
  verifyVote,
} from "@cairn/consensus";
import {
  CairnError,
  decodeCanonical,
  type IntentHash,
  type SignedSpendApproval,
  type SyncRecord,
  signedSpendApprovalSchema,
  spendRequestHash,
} from "@cairn/core";
import type { InForce } from "./manifest-book.ts";
import { type FinalMessage, finalSchema } from "./spend-signatures.ts";

/** What a peer hands over of one spend, each part checked against its own signatures. */
export interface SyncedSpend {
  readonly hash: IntentHash;
  readonly intent: Intent;
  readonly approvals: readonly SignedSpendApproval[];
  readonly votes: readonly SignedVote[];
  readonly voids: readonly SignedVoid[];
  readonly certificate: Certificate | null;
  /** Not checked yet: that takes a look at the chain. */
  readonly final: FinalMessage | null;
}

/** The records of an answer, spend by spend. */
export function bySpend(records: readonly SyncRecord[]): readonly (readonly SyncRecord[])[] {
  const spends: SyncRecord[][] = [];
  for (const record of records) {
    if (record.kind === "intent") spends.push([record]);
    else spends.at(-1)?.push(record);
  }
  return spends;
}

/**
 * One spend of an answer. Whoever holds it has checked the same, so a part that does not fit is a fault of the peer's.
 * @throws CairnError those of `checkIntentForm`, `verifyCertificate`, `verifyVote`, `verifyVoid`; `malformed` for a part of another spend;
 * `wrong-manifest` for a manifest that this node does not know
 */
export function readSyncedSpend(records: readonly SyncRecord[], book: Pick<InForce, "under">): SyncedSpend {
  const bodies = (kind: SyncRecord["kind"]) =>
    records.flatMap((record) => (record.kind === kind ? [record.body] : []));
  const [intentBody, ...others] = bodies("intent");
  if (intentBody === undefined || others.length > 0) throw foreign("intent");
  const intent = decodeCanonical(intentSchema, intentBody);
  const hash = intentHash(intent);
  const { manifest, manifestHash } = book.under(intent.manifestHash);
  checkIntentForm(intent, { manifest, manifestHash });
  const request = spendRequestHash(intent.request.body);

  const approvals = bodies("approval").map((body) => decodeCanonical(signedSpendApprovalSchema, body));
  const votes = bodies("vote").map((body) => decodeCanonical(signedVoteSchema, body));
  const voids = bodies("void").map((body) => decodeCanonical(signedVoidSchema, body));
  const certificate = one(bodies("certificate"), "certificate", (body) =>
    decodeCanonical(certificateSchema, body),
  );
  const final = one(bodies("final"), "final", (body) => decodeCanonical(finalSchema, body));

  if (approvals.some(({ body }) => body.requestHash !== request)) throw foreign("approval");
  if (votes.some(({ body }) => body.intentHash !== hash)) throw foreign("vote");
  if (voids.some(({ body }) => body.intentHash !== hash)) throw foreign("void");
  if (certificate !== null && certificate.intentHash !== hash) throw foreign("certificate");
  if (final !== null && final.intentHash !== hash) throw foreign("final");
  for (const vote of votes) verifyVote(vote, manifest, manifestHash);
  for (const signed of voids) verifyVoid(signed, manifest, manifestHash);
  if (certificate !== null) verifyCertificate(certificate, manifest, manifestHash);
  return { hash, intent, approvals, votes, voids, certificate, final };
}

function one<Part>(
  bodies: readonly Uint8Array[],
  kind: SyncRecord["kind"],
  decode: (body: Uint8Array) => Part,
): Part | null {
  const [body, ...others] = bodies;
  if (others.length > 0) throw foreign(kind);
  return body === undefined ? null : decode(body);
}

function foreign(kind: SyncRecord["kind"]): CairnError {
  return new CairnError("malformed", "the spend's records hold one too many, or one of another spend", {
    kind,
  });
}
