import { type Manifest, spendQuorum } from "@cairn/core";

/** Rejections of distinct nodes after which no quorum of approvals is left: n − q + 1, with q the spend quorum. */
export function rejectionQuorum(manifest: Manifest): number {
  return manifest.members.length - spendQuorum(manifest) + 1;
}
