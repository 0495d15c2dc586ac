import type { CheckedSpend } from "@cairn/bitcoin";
import type { Grant } from "@cairn/consensus";
import { CairnError, type KeyRow, toHex } from "@cairn/core";
import type { PresignatureFacts, Proposal, SessionWork } from "@cairn/signing";

/**
 * What a session for a spend has to do: use up the presignatures that the proposal names, or else run the protocol's rounds.
 * @param stock what this node holds of the presignatures named
 * @throws CairnError `wrong-state`, `presignature-mismatch`
 */
export function signingWork(
  key: KeyRow,
  checked: CheckedSpend,
  proposal: Proposal,
  stock: readonly PresignatureFacts[],
): SessionWork {
  const { keyId, epoch, sealedShare } = key;
  if (sealedShare === null) {
    throw new CairnError("wrong-state", "this node cannot sign for the key yet", { keyId });
  }
  const ids = proposal.items;
  if (ids === null) {
    return {
      kind: "engine",
      spec: {
        kind: key.protocol === "frost" ? "frost-sign" : "cggmp24-sign",
        keyId,
        epoch,
        signers: proposal.signers,
        sealedShare,
        items: checked.inputs.map(({ path, sighash }) => ({ path, preimage: sighash.preimage })),
      },
    };
  }
  const inputs = checked.inputs.map(({ path, sighash }, input) => {
    const presignatureId = ids[input];
    if (presignatureId === undefined) {
      throw new CairnError("presignature-mismatch", "the proposal names too few presignatures", { input });
    }
    return {
      input,
      presignatureId,
      path,
      sighash: toHex(sighash.digest) as Grant["inputs"][number]["sighash"],
      preimage: sighash.preimage,
    };
  });
  return { kind: "presigned", keyId, epoch, inputs, stock };
}
