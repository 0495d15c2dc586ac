import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  clusterIdOf,
  Ed25519Signer,
  encodeCanonical,
  type Manifest,
  manifestSchema,
  parseShape,
  SealingKey,
  type SignedManifest,
  systemRandom,
} from "@cairn/core";
import {
  type Authority,
  authorityToPem,
  certificateToPem,
  createAuthority,
  issueNodeCertificate,
} from "@cairn/pki";
import { type Policy, policyHash, policySchema } from "@cairn/policy";

/** Everything that the people of a small cluster hold. */
export interface TestCluster {
  readonly manifest: Manifest;
  readonly signedManifest: SignedManifest;
  readonly policy: Policy;
  readonly identities: readonly Ed25519Signer[];
  readonly sealings: readonly SealingKey[];
  readonly operators: readonly Ed25519Signer[];
  readonly owner: Ed25519Signer;
  readonly authority: Authority;
}

export function testCluster(
  change: {
    readonly n?: number;
    readonly manifest?: Partial<Manifest>;
    readonly addresses?: readonly string[][];
  } = {},
): TestCluster {
  const n = change.n ?? 2;
  const many = <T>(make: () => T): T[] => Array.from({ length: n }, make);
  const identities = many(() => Ed25519Signer.generate());
  const sealings = many(() => SealingKey.generate());
  const operators = many(() => Ed25519Signer.generate());
  const owner = Ed25519Signer.generate();
  const authority = createAuthority({ now: Date.now() }, { random: systemRandom });
  const policy = parseShape(policySchema, {
    version: 1,
    policyVersion: 1,
    perTransactionMaxSats: 1_000_000,
    rolling24hMaxSats: null,
    perDestination24hMaxSats: null,
    whitelist: null,
    feeCeilingSats: null,
    feeRateCeilingSatsPerKvb: null,
    rateLimit: null,
    delayMs: 0,
    approvals: null,
  });
  const draft: Manifest = parseShape(manifestSchema, {
    version: 1,
    cluster: "0".repeat(64),
    nonce: randomBytes(32).toString("hex"),
    sequence: 0,
    previous: null,
    network: "regtest",
    threshold: n,
    members: identities.map((identity, at) => ({
      index: at + 1,
      name: `member ${at + 1}`,
      identity: identity.publicKey,
      sealing: sealings[at]?.publicKey,
      operator: operators[at]?.publicKey,
      addresses: change.addresses?.[at] ?? ["tcp://127.0.0.1:1"],
      api: null,
    })),
    requesters: [owner.publicKey],
    approvers: [],
    coordinators: [],
    policyEngines: [],
    transactionServices: [],
    authorisation: "quorum",
    modes: { spend: "bft", keygen: "unanimous", refresh: "unanimous", manifest: "bft", policy: "bft" },
    policy: policyHash(policy),
    policyVersion: 1,
    policyDelayMs: 0,
    caFingerprint: authority.fingerprint,
    unsignedRequests: false,
    protocolVersions: [1],
    createdAt: Date.now(),
    ...change.manifest,
  });
  const manifest: Manifest = { ...draft, cluster: clusterIdOf(draft) };
  const signatures = operators.map((operator) => ({
    operator: operator.publicKey,
    signature: operator.sign("cairn/manifest/v1", manifest),
  }));
  const signedManifest = { manifest, signatures };
  return { manifest, signedManifest, policy, identities, sealings, operators, owner, authority };
}

export const ADMIN_TOKEN = "admin-token-of-tests";

/** A node's folder as an operator would have it, under the system's temporary folder. */
export class NodeFolder {
  readonly path: string;
  readonly config: string;

  private constructor(path: string) {
    this.path = path;
    this.config = join(path, "cairn.toml");
  }

  static async create(cluster: TestCluster, index = 1): Promise<NodeFolder> {
    const folder = new NodeFolder(await mkdtemp(join(tmpdir(), "cairn-node-")));
    const identity = cluster.identities[index - 1];
    const sealing = cluster.sealings[index - 1];
    const member = cluster.manifest.members[index - 1];
    if (identity === undefined || sealing === undefined || member === undefined)
      throw new RangeError("no such node");
    const certificate = issueNodeCertificate(
      cluster.authority,
      { cluster: cluster.manifest.cluster, index: member.index, identity: member.identity },
      { now: Date.now() },
      { random: systemRandom },
    );
    await folder.write("manifest.cbor", encodeCanonical(cluster.signedManifest));
    await folder.write("policy.cbor", encodeCanonical(cluster.policy));
    await folder.write("identity.pem", identity.toPem(), 0o600);
    await folder.write("sealing.pem", sealing.toPem(), 0o600);
    await folder.write("vault.key", randomBytes(32), 0o600);
    await folder.write("certificate.pem", certificateToPem(certificate));
    await folder.write("ca.pem", authorityToPem(cluster.authority).certificate);
    await folder.write("epoch", "0\n");
    const hash = createHash("sha256").update(ADMIN_TOKEN).digest("hex");
    await folder.write(
      "cairn.toml",
      [
        "[node]",
        `index = ${index}`,
        "[api]",
        'listen = "127.0.0.1:0"',
        "[[api.tokens]]",
        'name = "admin"',
        'role = "admin"',
        `hash = "${hash}"`,
        "[transport]",
        'p2p_listen = "127.0.0.1:0"',
        "[chain]",
        'endpoints = ["http://127.0.0.1:1"]',
        "timeout_ms = 500",
        "[primes]",
        "target = 0",
        "",
      ].join("\n"),
    );
    return folder;
  }

  /** Writes one of its files, over what was there. */
  async write(name: string, content: Uint8Array | string, mode = 0o644): Promise<void> {
    await mkdir(this.path, { recursive: true });
    await rm(join(this.path, name), { force: true });
    await writeFile(join(this.path, name), content, { mode });
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}
