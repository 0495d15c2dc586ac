import type { Manifest, NodeIndex, Signer } from "@cairn/core";

/** Who lies: a member of a cluster with its own key. */
export interface Liar {
  readonly hostile: { readonly index: NodeIndex };
  readonly manifest: Manifest;
  readonly signer: Signer;
}
