import { psbtFault, psbtRuleVersions } from "@cairn/bitcoin";
import {
  type Evidence,
  type EvidenceRules,
  evidenceSchema,
  type Judgement,
  judgeEvidence,
} from "@cairn/consensus";
import { CairnError, decodeCanonical } from "@cairn/core";

/** What evidence proves. */
export type Proof = Extract<Judgement, { readonly kind: "proven" }> & { readonly evidence: Evidence };

/**
 * Judges evidence by a manifest, as every node does, and asks nobody.
 * @throws CairnError `evidence-invalid`, `wrong-manifest`, `unsupported-version` (it cannot be judged here), `malformed`, `not-canonical`,
 * `too-large`
 */
export function judgeOffline(bytes: Uint8Array, rules: EvidenceRules): Proof {
  const evidence = decodeCanonical(evidenceSchema, bytes);
  const judgement = judgeEvidence(evidence, rules, {
    protocolVersions: psbtRuleVersions,
    intentFault: ({ psbt, request, anchor }, wallet) =>
      psbtFault(psbt, wallet, request.body, anchor?.checkpoint ?? null),
  });
  switch (judgement.kind) {
    case "proven":
      return { ...judgement, evidence };
    case "forged":
      throw new CairnError("evidence-invalid", `the evidence proves nothing: ${judgement.reason}`);
    case "unjudgeable":
      throw new CairnError(
        judgement.code,
        `the evidence cannot be judged by this manifest: ${judgement.reason}`,
        {
          manifest: evidence.manifestHash,
        },
      );
  }
}
