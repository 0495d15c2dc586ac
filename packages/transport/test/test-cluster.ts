import { Ed25519Signer, type HashHex, type Manifest, type NodeIndex, SealingKey } from "@cairn/core";
import { testManifest } from "@cairn/core/test-support";

export interface TestNode {
  readonly index: NodeIndex;
  readonly signer: Ed25519Signer;
  readonly sealing: SealingKey;
}

export interface TestCluster {
  readonly nodes: readonly TestNode[];
  readonly manifest: Manifest;
}

/** Fresh keys for `total` nodes and a manifest that names them. */
export function testCluster(
  total: number,
  change: {
    readonly caFingerprint?: HashHex;
    readonly addresses?: readonly string[];
    readonly protocolVersions?: readonly number[];
  } = {},
): TestCluster {
  const nodes = Array.from({ length: total }, (_, position) => ({
    index: (position + 1) as NodeIndex,
    signer: Ed25519Signer.generate(),
    sealing: SealingKey.generate(),
  }));
  const manifest = testManifest(
    nodes.map(({ index, signer, sealing }) => ({
      identity: signer.publicKey,
      sealing: sealing.publicKey,
      addresses: [change.addresses?.[index - 1] ?? `tcp://127.0.0.1:${9000 + index}`],
    })),
    {
      threshold: Math.max(2, total - 1),
      ...(change.caFingerprint === undefined ? {} : { caFingerprint: change.caFingerprint }),
      protocolVersions: change.protocolVersions ?? [1],
    },
  );
  return { nodes, manifest };
}

/** The node with `index`. */
export function nodeOf(cluster: TestCluster, index: number): TestNode {
  const node = cluster.nodes[index - 1];
  if (node === undefined) throw new Error(`the test cluster has no node ${index}`);
  return node;
}
