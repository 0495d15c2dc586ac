import type { ClusterId, NodeIndex } from "@cairn/core";

/** Hexadecimal digits of the cluster id in DNS names: a label has at most 63 octets, a cluster id 64 digits. */
const SHORT_CLUSTER_DIGITS = 16;

/** The names in a node's certificate. The URI carries the whole cluster id; the DNS name its first 16 digits. */
export interface NodeName {
  /** `node-<i>` */
  readonly commonName: string;
  /** `node-<i>.<first 16 digits of the cluster id>.cairn` */
  readonly dns: string;
  /** `cairn://<cluster id>/node/<i>` */
  readonly uri: string;
}

export function nodeName(cluster: ClusterId, index: NodeIndex): NodeName {
  const commonName = `node-${index}`;
  return {
    commonName,
    dns: `${commonName}.${cluster.slice(0, SHORT_CLUSTER_DIGITS)}.cairn`,
    uri: `cairn://${cluster}/node/${index}`,
  };
}
