import { join, resolve } from "node:path";
import { type Role, roles } from "@cairn/client";
import {
  CairnError,
  type Clock,
  Ed25519Signer,
  encodeCanonical,
  firstPolicy,
  type HashHex,
  type Manifest,
  type ManifestHash,
  manifestFingerprint,
  manifestHash,
  memberSchema,
  type Network,
  nodeIndexSchema,
  nonceSchema,
  type Policy,
  type PolicyLimits,
  parseShape,
  type Random,
  SealingKey,
  type SignedManifest,
  systemClock,
  systemRandom,
  toHex,
} from "@cairn/core";
import {
  type Authority,
  authorityToPem,
  certificateToPem,
  createAuthority,
  issueNodeCertificate,
  makePrivateFolder,
  replacePublicFile,
  writeKeyFile,
} from "@cairn/pki";
import { writeCliConfig } from "./cli-config.ts";
import { createToken, type Token } from "./init/create-token.ts";
import { genesisManifest, signManifest } from "./init/genesis-manifest.ts";
import { mergeSettings, type NodeSettings, nodeConfigText } from "./init/node-settings.ts";
import { writeFolder } from "./init/write-folder.ts";
import { writeVaultKey } from "./init/write-vault-key.ts";

/** One node of a new cluster. */
export interface InitNode {
  /** Unique in the cluster. */
  readonly name: string;
  /** `host:port` where it listens for peers, and where they reach it. */
  readonly peer: string;
  /** `host:port` where its REST API listens. */
  readonly api: string;
  /** Esplora endpoints of this node's own choice, preferred first. */
  readonly chain: readonly string[];
  /** Sections of `cairn.toml` for this node alone. */
  readonly settings?: NodeSettings;
}

export interface InitClusterOptions {
  /** Folder to make; it must not exist, or be empty. */
  readonly dir: string;
  readonly network: Network;
  /** n nodes, index 1 first. */
  readonly nodes: readonly InitNode[];
  /** t; defaults to ⌊2n/3⌋ + 1. */
  readonly threshold?: number;
  /** Spending rules; none by default. */
  readonly policy?: PolicyLimits;
  readonly modes?: Partial<Manifest["modes"]>;
  /** Accept the bare `{recipient, amount_sats}`; regtest only. */
  readonly unsignedRequests?: boolean;
  /** Let spends anchor checkpoints of the audit logs on the chain. */
  readonly checkpointAnchors?: boolean;
  /** Sections of `cairn.toml` for all nodes, such as shorter times for tests. */
  readonly settings?: NodeSettings;
}

export interface InitialisedNode {
  /** 1..n */
  readonly index: number;
  readonly name: string;
  /** Absolute path. */
  readonly dir: string;
  /** Absolute path of its `cairn.toml`. */
  readonly config: string;
  /** `host:port` */
  readonly peer: string;
  /** Base URL of its REST API. */
  readonly api: string;
}

/** A cluster on disk. All paths are absolute. */
export interface InitialisedCluster {
  readonly dir: string;
  readonly signedManifest: SignedManifest;
  readonly manifestHash: ManifestHash;
  /** The hash as operators compare it by voice. */
  readonly fingerprint: string;
  readonly caFingerprint: HashHex;
  readonly policy: Policy;
  readonly nodes: readonly InitialisedNode[];
  /** Key files of the operators, by node; each belongs offline, with its own person. */
  readonly operatorKeys: readonly string[];
  /** Key file of the one who may ask for spends. */
  readonly requesterKey: string;
  /** Configuration for the `cairn` command: all endpoints, admin token, requester key, first operator's key. */
  readonly cliConfig: string;
  /** Bearer tokens; the same at all nodes, which know only their hashes. */
  readonly tokens: Readonly<Record<Role, string>>;
}

export interface InitClusterModules {
  readonly clock: Pick<Clock, "now">;
  /** For the manifest's nonce and serial numbers. Keys and tokens come from the operating system. */
  readonly random: Random;
}

/**
 * Makes a cluster on one machine: all keys, the CA, the genesis manifest signed by all operators, and a folder per node that the
 * daemon starts from. The folder appears whole or not at all.
 *
 * ```text
 * <dir>/manifest.cbor  policy.cbor  config.toml  requester.pem
 *       ca/ca.pem  ca/ca-key.pem   operators/operator-<i>.pem   tokens/<role>
 *       node-<i>/cairn.toml  manifest.cbor  policy.cbor  identity.pem  sealing.pem  certificate.pem
 *                ca.pem  vault.key  epoch  data/
 * ```
 *
 * Folders have mode 0700; keys, tokens and configurations 0600.
 *
 * @throws CairnError `file-exists`, `malformed`, `config-invalid`, `storage-full`, `storage-failed`
 */
export async function initCluster(
  options: InitClusterOptions,
  modules: InitClusterModules = { clock: systemClock, random: systemRandom },
): Promise<InitialisedCluster> {
  const dir = resolve(options.dir);
  const cluster = createCluster(options, modules);
  await writeFolder(dir, (draft) => writeCluster(draft, cluster));
  const hash = manifestHash(cluster.signedManifest.manifest);
  return {
    dir,
    signedManifest: cluster.signedManifest,
    manifestHash: hash,
    fingerprint: manifestFingerprint(hash),
    caFingerprint: cluster.authority.fingerprint,
    policy: cluster.policy,
    nodes: cluster.nodes.map(({ index, name, peer, apiUrl }) => ({
      index,
      name,
      dir: join(dir, `node-${index}`),
      config: join(dir, `node-${index}`, "cairn.toml"),
      peer,
      api: apiUrl,
    })),
    operatorKeys: cluster.nodes.map(({ index }) => join(dir, operatorFile(index))),
    requesterKey: join(dir, "requester.pem"),
    cliConfig: join(dir, "config.toml"),
    tokens: {
      viewer: cluster.tokens.viewer.text,
      spender: cluster.tokens.spender.text,
      operator: cluster.tokens.operator.text,
      admin: cluster.tokens.admin.text,
    },
  };
}

interface CreatedNode {
  readonly index: number;
  readonly name: string;
  readonly peer: string;
  readonly apiUrl: string;
  readonly identity: Ed25519Signer;
  readonly sealing: SealingKey;
  readonly operator: Ed25519Signer;
  /** DER. */
  readonly certificate: Uint8Array;
  readonly configText: string;
}

interface CreatedCluster {
  readonly signedManifest: SignedManifest;
  readonly policy: Policy;
  readonly authority: Authority;
  readonly requester: Ed25519Signer;
  readonly nodes: readonly CreatedNode[];
  readonly tokens: Readonly<Record<Role, Token>>;
}

/** Everything that the files will hold, in memory, so that what can't be is refused before anything is written. */
function createCluster(options: InitClusterOptions, { clock, random }: InitClusterModules): CreatedCluster {
  const now = clock.now();
  refuseShared(options.nodes);
  const policy = firstPolicy(options.policy ?? {});
  const authority = createAuthority({ now }, { random });
  const requester = Ed25519Signer.generate();
  const tokens = {
    viewer: createToken(),
    spender: createToken(),
    operator: createToken(),
    admin: createToken(),
  };
  const keyed = options.nodes.map((node, position) => ({
    node,
    index: parseShape(nodeIndexSchema, position + 1),
    apiUrl: `http://${node.api}`,
    identity: Ed25519Signer.generate(),
    sealing: SealingKey.generate(),
    operator: Ed25519Signer.generate(),
  }));
  const manifest = genesisManifest({
    network: options.network,
    threshold: options.threshold,
    members: keyed.map(({ node, index, apiUrl, identity, sealing, operator }) =>
      parseShape(memberSchema, {
        index,
        name: node.name,
        identity: identity.publicKey,
        sealing: sealing.publicKey,
        operator: operator.publicKey,
        addresses: [`tcp://${node.peer}`],
        api: apiUrl,
      }),
    ),
    requesters: [requester.publicKey],
    policy,
    caFingerprint: authority.fingerprint,
    modes: options.modes,
    unsignedRequests: options.unsignedRequests,
    checkpointAnchors: options.checkpointAnchors,
    nonce: parseShape(nonceSchema, toHex(random.bytes(32))),
    createdAt: now,
  });
  const nodes = keyed.map(({ node, index, apiUrl, identity, sealing, operator }): CreatedNode => {
    const base: NodeSettings = {
      node: { index },
      api: {
        listen: node.api,
        tokens: roles.map((role) => ({ name: role, role, hash: tokens[role].hash })),
      },
      transport: { p2p_listen: node.peer },
      chain: { endpoints: [...node.chain] },
    };
    return {
      index,
      name: node.name,
      peer: node.peer,
      apiUrl,
      identity,
      sealing,
      operator,
      certificate: issueNodeCertificate(
        authority,
        { cluster: manifest.cluster, index, identity: identity.publicKey },
        { now },
        { random },
      ),
      configText: nodeConfigText(mergeSettings(base, options.settings ?? {}, node.settings ?? {})),
    };
  });
  const signatures = keyed.map(({ operator }) => signManifest(manifest, operator));
  return { signedManifest: { manifest, signatures }, policy, authority, requester, nodes, tokens };
}

/** Two nodes of one machine can't share a name or a port. */
function refuseShared(nodes: readonly InitNode[]): void {
  const names = nodes.map(({ name }) => name);
  const places = nodes.flatMap(({ peer, api }) => [peer, api]);
  for (const values of [names, places]) {
    const twice = values.find((value, position) => values.indexOf(value) !== position);
    if (twice === undefined) continue;
    throw new CairnError(
      "config-invalid",
      `${twice} is given twice; each node needs its own name and ports`,
      {
        value: twice,
      },
    );
  }
}

async function writeCluster(dir: string, cluster: CreatedCluster): Promise<void> {
  const { signedManifest, policy, authority, requester, nodes, tokens } = cluster;
  const manifestBytes = encodeCanonical(signedManifest);
  const policyBytes = encodeCanonical(policy);
  const authorityPem = authorityToPem(authority);
  for (const folder of ["ca", "operators", "tokens"]) await makePrivateFolder(join(dir, folder));
  await replacePublicFile(join(dir, "manifest.cbor"), manifestBytes);
  await replacePublicFile(join(dir, "policy.cbor"), policyBytes);
  await replacePublicFile(join(dir, "ca", "ca.pem"), authorityPem.certificate);
  await writeKeyFile(join(dir, "ca", "ca-key.pem"), authorityPem.key);
  await writeKeyFile(join(dir, "requester.pem"), requester.toPem());
  for (const role of roles) {
    await writeKeyFile(join(dir, "tokens", role), Buffer.from(`${tokens[role].text}\n`, "utf8"));
  }
  for (const node of nodes) {
    await writeKeyFile(join(dir, operatorFile(node.index)), node.operator.toPem());
    const own = join(dir, `node-${node.index}`);
    await makePrivateFolder(own);
    await makePrivateFolder(join(own, "data"));
    await writeKeyFile(join(own, "identity.pem"), node.identity.toPem());
    await writeKeyFile(join(own, "sealing.pem"), node.sealing.toPem());
    await writeVaultKey(join(own, "vault.key"));
    await replacePublicFile(join(own, "manifest.cbor"), manifestBytes);
    await replacePublicFile(join(own, "policy.cbor"), policyBytes);
    await replacePublicFile(join(own, "ca.pem"), authorityPem.certificate);
    await replacePublicFile(join(own, "certificate.pem"), certificateToPem(node.certificate));
    await replacePublicFile(join(own, "epoch"), Buffer.from("0\n", "utf8"));
    await writeKeyFile(join(own, "cairn.toml"), Buffer.from(node.configText, "utf8"));
  }
  const { manifest } = signedManifest;
  await writeCliConfig(
    join(dir, "config.toml"),
    {
      endpoints: nodes.map(({ apiUrl }) => apiUrl),
      token: tokens.admin.text,
      cluster: manifest.cluster,
      manifest: manifestHash(manifest),
      requester_key: "requester.pem",
      operator_key: operatorFile(1),
    },
    { replace: false },
  );
}

function operatorFile(index: number): string {
  return join("operators", `operator-${index}.pem`);
}
