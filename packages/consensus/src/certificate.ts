import {
  bodyHash,
  CairnError,
  clusterIdSchema,
  type HashHex,
  intentHashSchema,
  type Manifest,
  type ManifestHash,
  manifestHashSchema,
  memberOf,
  nodeIndexSchema,
  signatureHexSchema,
  spendQuorum,
  verifySignature,
} from "@cairn/core";
import { z } from "zod";
import { deepFreeze } from "./deep-freeze.ts";
import { roundSchema, type SignedVote, type Vote } from "./vote.ts";

/**
 * Proof that a quorum approved an intent in one round. Each entry is the signature of a vote whose every other field follows
 * from the certificate: an approval without reason. So it cannot hold rejections, other rounds or other intents.
 */
export const certificateSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  manifestHash: manifestHashSchema,
  intentHash: intentHashSchema,
  round: roundSchema,
  /** Ascending by voter, at most one each. */
  votes: z
    .array(z.strictObject({ voter: nodeIndexSchema, signature: signatureHexSchema }))
    .min(1)
    .max(255),
});
export type Certificate = z.output<typeof certificateSchema>;

export function certificateHash(certificate: Certificate): HashHex {
  return bodyHash<HashHex>("cairn/certificate/v1", certificate);
}

/** The vote that a certificate's entry is the signature of. */
export function certifiedVote(certificate: Certificate, entry: Certificate["votes"][number]): Vote {
  return {
    version: 1,
    cluster: certificate.cluster,
    manifestHash: certificate.manifestHash,
    intentHash: certificate.intentHash,
    round: certificate.round,
    voter: entry.voter,
    approve: true,
    reason: null,
  };
}

/**
 * A certificate of exactly a quorum of `approvals` (the lowest voters), or null while there are too few.
 * @param approvals verified approvals of one intent, manifest and round, at most one a voter
 */
export function formCertificate(approvals: readonly SignedVote[], manifest: Manifest): Certificate | null {
  const chosen = approvals.toSorted((a, b) => a.body.voter - b.body.voter).slice(0, spendQuorum(manifest));
  const first = chosen[0];
  if (first === undefined || chosen.length < spendQuorum(manifest)) return null;
  const { cluster, manifestHash, intentHash, round } = first.body;
  return {
    version: 1,
    cluster,
    manifestHash,
    intentHash,
    round,
    votes: chosen.map(({ body, signature }) => ({ voter: body.voter, signature })),
  };
}

/** Certificates that were found valid, and under which manifest. They are frozen, so that what was checked is what is used. */
const valid = new WeakMap<Certificate, Manifest>();

/**
 * Checks a certificate against the manifest that it names, once however often it is met: a spend quorum of distinct members, ascending, each signature valid.
 * Needs nothing but the two documents.
 * @throws CairnError `wrong-cluster`, `wrong-manifest`, `certificate-invalid`, `quorum-missing`, `not-member`, `signature-invalid`
 */
export function verifyCertificate(
  certificate: Certificate,
  manifest: Manifest,
  manifestHash: ManifestHash,
): void {
  if (valid.get(certificate) === manifest && certificate.manifestHash === manifestHash) return;
  if (certificate.cluster !== manifest.cluster) {
    throw new CairnError("wrong-cluster", "the certificate is for another cluster");
  }
  if (certificate.manifestHash !== manifestHash) {
    throw new CairnError("wrong-manifest", "the certificate was formed under another manifest");
  }
  const { votes } = certificate;
  if (votes.length > manifest.members.length) {
    throw new CairnError(
      "certificate-invalid",
      "the certificate holds more votes than the cluster has nodes",
      {
        votes: votes.length,
      },
    );
  }
  if (votes.some((entry, at) => entry.voter <= (votes[at - 1]?.voter ?? 0))) {
    throw new CairnError("certificate-invalid", "the certificate's votes must ascend by voter, one a node");
  }
  const needed = spendQuorum(manifest);
  if (votes.length < needed) {
    throw new CairnError(
      "quorum-missing",
      `the certificate holds ${votes.length} approvals and needs ${needed}`,
      {
        votes: votes.length,
        needed,
      },
    );
  }
  for (const entry of votes) {
    const member = memberOf(manifest, entry.voter);
    const vote = certifiedVote(certificate, entry);
    if (!verifySignature("cairn/vote/v1", vote, member.identity, entry.signature)) {
      throw new CairnError(
        "signature-invalid",
        `the certificate's vote of node ${entry.voter} does not verify`,
        {
          voter: entry.voter,
        },
      );
    }
  }
  deepFreeze(certificate);
  valid.set(certificate, manifest);
}
