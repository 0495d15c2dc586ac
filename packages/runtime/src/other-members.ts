import type { Manifest, NodeIndex } from "@cairn/core";

/** The cluster's members but for this node. */
export function otherMembers(manifest: Pick<Manifest, "members">, me: NodeIndex): NodeIndex[] {
  return manifest.members.map(({ index }) => index).filter((index) => index !== me);
}
