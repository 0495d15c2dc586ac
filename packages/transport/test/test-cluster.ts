import {
  clusterIdOf,
  Ed25519Signer,
  type HashHex,
  type Manifest,
  manifestSchema,
  type NodeIndex,
  SealingKey,
} from "@cairn/core";

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
  const draft = manifestSchema.parse({
    version: 1,
    cluster: "0".repeat(64),
    nonce: "ab".repeat(32),
    sequence: 0,
    previous: null,
    network: "regtest",
    threshold: Math.max(2, total - 1),
    members: nodes.map(({ index, signer, sealing }) => ({
      index,
      name: `node ${index}`,
      identity: signer.publicKey,
      sealing: sealing.publicKey,
      operator: Ed25519Signer.generate().publicKey,
      addresses: [change.addresses?.[index - 1] ?? `tcp://127.0.0.1:${9000 + index}`],
      api: null,
    })),
    requesters: [],
    approvers: [],
    coordinators: [],
    policyEngines: [],
    transactionServices: [],
    authorisation: "quorum",
    modes: { spend: "bft", keygen: "unanimous", refresh: "unanimous", manifest: "bft", policy: "bft" },
    policy: "cd".repeat(32),
    policyVersion: 1,
    policyDelayMs: 0,
    caFingerprint: change.caFingerprint ?? "ef".repeat(32),
    unsignedRequests: false,
    protocolVersions: change.protocolVersions ?? [1],
    createdAt: 1,
  });
  return { nodes, manifest: { ...draft, cluster: clusterIdOf(draft) } };
}

/** The node with `index`. */
export function nodeOf(cluster: TestCluster, index: number): TestNode {
  const node = cluster.nodes[index - 1];
  if (node === undefined) throw new Error(`the test cluster has no node ${index}`);
  return node;
}
