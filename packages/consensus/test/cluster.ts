import { createHash } from "node:crypto";
import {
  type Ed25519Signer,
  type Manifest,
  manifestHash,
  type NodeIndex,
  type Nonce,
  parseShape,
  type SpendRequest,
  spendRequestSchema,
  type UnixMs,
} from "@cairn/core";
import { namedSigner, testManifest } from "@cairn/core/test-support";
import {
  type Intent,
  type IntentContext,
  intentHash,
  type SignedVoid,
  type SignedVote,
  signVoid,
  signVote,
  type Vote,
  type VotingContext,
} from "../src/index.ts";

export const signerOf = namedSigner;

export const hash = (name: string): string => createHash("sha256").update(name).digest("hex");

export interface TestCluster {
  readonly manifest: Manifest;
  readonly manifestHash: ReturnType<typeof manifestHash>;
  readonly nodes: readonly Ed25519Signer[];
  readonly operators: readonly Ed25519Signer[];
  readonly owner: Ed25519Signer;
  readonly engine: Ed25519Signer;
}

export const NOW = 1_800_000_000_000 as UnixMs;
export const HOUR = 3_600_000;

export function clusterOf(
  options: { readonly n?: number; readonly t?: number; readonly change?: Partial<Manifest> } = {},
): TestCluster {
  const n = options.n ?? 5;
  const nodes = Array.from({ length: n }, (_, at) => signerOf(`node ${at + 1}`));
  const operators = Array.from({ length: n }, (_, at) => signerOf(`operator ${at + 1}`));
  const owner = signerOf("owner");
  const engine = signerOf("engine");
  const manifest = testManifest(
    nodes.map((node, at) => ({
      identity: node.publicKey,
      operator: operators[at]?.publicKey,
      name: `member ${at + 1}`,
    })),
    {
      threshold: options.t ?? 4,
      requesters: [owner.publicKey],
      policyEngines: [engine.publicKey],
      createdAt: NOW - 1_000_000,
      ...options.change,
    },
  );
  return { manifest, manifestHash: manifestHash(manifest), nodes, operators, owner, engine };
}

export function nodeOf(cluster: TestCluster, index: number): Ed25519Signer {
  const signer = cluster.nodes[index - 1];
  if (signer === undefined) throw new Error(`no node ${index}`);
  return signer;
}

export function requestOf(cluster: TestCluster, change: Partial<SpendRequest> = {}): SpendRequest {
  return {
    ...parseShape(spendRequestSchema, {
      version: 1,
      cluster: cluster.manifest.cluster,
      network: cluster.manifest.network,
      wallet: hash("wallet"),
      outputs: [{ address: "bcrt1qexample", amountSats: 50_000 }],
      maxFeeSats: 1_000,
      feeRateSatsPerKvb: null,
      nonce: hash("request"),
      createdAt: NOW,
      expiry: NOW + HOUR,
      replaces: null,
      requester: cluster.owner.publicKey,
    }),
    ...change,
  };
}

export function intentOf(
  cluster: TestCluster,
  change: Partial<Intent> = {},
  request: SpendRequest = requestOf(cluster),
): Intent {
  return {
    version: 1,
    cluster: cluster.manifest.cluster,
    request: { body: request, signature: cluster.owner.sign("cairn/spend-request/v1", request) },
    psbt: Buffer.from("psbt"),
    wallet: request.wallet,
    anchor: null,
    manifestHash: cluster.manifestHash,
    policyVersion: 1,
    protocolVersion: 1,
    createdAt: NOW,
    ...change,
  };
}

export function intentContext(cluster: TestCluster, change: Partial<IntentContext> = {}): IntentContext {
  return {
    manifest: cluster.manifest,
    manifestHash: cluster.manifestHash,
    policyVersion: 1,
    protocolVersions: [1],
    now: NOW,
    clockSkewMs: 2_000,
    ...change,
  };
}

export function voteOf(
  cluster: TestCluster,
  voter: number,
  change: Partial<Vote> = {},
  signer: Ed25519Signer = nodeOf(cluster, voter),
): SignedVote {
  const vote: Vote = {
    version: 1,
    cluster: cluster.manifest.cluster,
    manifestHash: cluster.manifestHash,
    intentHash: intentHash(intentOf(cluster)),
    round: 1,
    voter: voter as NodeIndex,
    approve: true,
    reason: null,
    ...change,
  };
  return signVote(vote, signer);
}

export const rejection = (code: string): Partial<Vote> => ({
  approve: false,
  reason: { code, blocking: [] },
});

export function voidOf(
  cluster: TestCluster,
  node: number,
  intent: Vote["intentHash"] = intentHash(intentOf(cluster)),
): SignedVoid {
  return signVoid(
    {
      version: 1,
      cluster: cluster.manifest.cluster,
      manifestHash: cluster.manifestHash,
      intentHash: intent,
      node: node as NodeIndex,
    },
    nodeOf(cluster, node),
  );
}

export const ROUND_MS = 10_000;

export function votingContext(cluster: TestCluster, change: Partial<VotingContext> = {}): VotingContext {
  return {
    now: NOW,
    me: 1 as NodeIndex,
    manifest: cluster.manifest,
    manifestHash: cluster.manifestHash,
    roundMs: ROUND_MS,
    ...change,
  };
}

export const nonceOf = (name: string): Nonce => hash(name) as Nonce;
