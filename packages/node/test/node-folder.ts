import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  Ed25519Signer,
  encodeCanonical,
  type Manifest,
  SealingKey,
  type SignedManifest,
  systemRandom,
} from "@cairn/core";
import { openPolicy, signedBy, testManifest } from "@cairn/core/test-support";
import {
  type Authority,
  authorityToPem,
  certificateToPem,
  createAuthority,
  issueNodeCertificate,
} from "@cairn/pki";
import { type Policy, policyHash } from "@cairn/policy";

/** Everything that the people of a small cluster hold. */
export interface TestCluster {
  readonly manifest: Manifest;
  readonly signedManifest: SignedManifest;
  readonly policy: Policy;
  readonly identities: readonly Ed25519Signer[];
  readonly sealings: readonly SealingKey[];
  readonly operators: readonly Ed25519Signer[];
  readonly owner: Ed25519Signer;
  readonly approver: Ed25519Signer;
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
  const approver = Ed25519Signer.generate();
  const authority = createAuthority({ now: Date.now() }, { random: systemRandom });
  const policy = openPolicy({ perTransactionMaxSats: 1_000_000 });
  const manifest = testManifest(
    identities.map((identity, at) => ({
      identity: identity.publicKey,
      sealing: sealings[at]?.publicKey,
      operator: operators[at]?.publicKey,
      addresses: change.addresses?.[at] ?? ["tcp://127.0.0.1:1"],
    })),
    {
      nonce: randomBytes(32).toString("hex"),
      threshold: n,
      requesters: [owner.publicKey],
      approvers: [approver.publicKey],
      policy: policyHash(policy),
      caFingerprint: authority.fingerprint,
      createdAt: Date.now(),
      ...change.manifest,
    },
  );
  const signedManifest = signedBy(manifest, operators);
  return { manifest, signedManifest, policy, identities, sealings, operators, owner, approver, authority };
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
