import type { SignedPublicDataAcceptance } from "@cairn/consensus";
import {
  type ClusterId,
  type Ed25519PublicKey,
  type NodeIndex,
  type PresignatureId,
  sha256Hex,
  verifySigned,
} from "@cairn/core";

/** A presignature that this node made and that is not ready yet, with the words on it so far. */
export interface PendingPresignature {
  readonly presignatureId: PresignatureId;
  readonly signers: readonly NodeIndex[];
  readonly publicData: Uint8Array;
  /** Of signers who signed the hash of these public data; this node's own among them once it is signed. */
  readonly acceptances: readonly SignedPublicDataAcceptance[];
}

export type Readiness =
  | { readonly verdict: "pending"; readonly item: PendingPresignature }
  /** All signers signed: store the acceptances beside it, since they are what proves a wrong partial. */
  | { readonly verdict: "ready"; readonly item: PendingPresignature }
  /** A signer holds other public data: the presignature must be discarded. Nobody can tell who cheated. */
  | { readonly verdict: "discard"; readonly item: PendingPresignature; readonly node: NodeIndex }
  | { readonly verdict: "refuse"; readonly message: string };

/** One signer's word on one pending presignature. */
export function acceptPublicData(
  item: PendingPresignature,
  from: NodeIndex,
  signed: SignedPublicDataAcceptance,
  facts: {
    readonly cluster: ClusterId;
    readonly identities: ReadonlyMap<NodeIndex, Ed25519PublicKey>;
  },
): Readiness {
  const { body } = signed;
  const subject: string = body.subject;
  const key = facts.identities.get(from);
  if (
    body.cluster !== facts.cluster ||
    body.node !== from ||
    subject !== item.presignatureId ||
    !item.signers.includes(from) ||
    key === undefined ||
    !verifySigned("cairn/presignature-data/v1", signed, key)
  ) {
    return { verdict: "refuse", message: "this is not that signer's word on this presignature" };
  }
  if (body.publicData !== sha256Hex(item.publicData) || body.signers.join() !== item.signers.join()) {
    return { verdict: "discard", item, node: from };
  }
  const known = item.acceptances.some((own) => own.body.node === from);
  const acceptances = known
    ? item.acceptances
    : [...item.acceptances, signed].sort((a, b) => a.body.node - b.body.node);
  const next = { ...item, acceptances };
  return { verdict: acceptances.length < item.signers.length ? "pending" : "ready", item: next };
}
