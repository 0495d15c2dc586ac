import { createECDH } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createDescriptor, type Descriptor, deriveKey } from "@cairn/bitcoin";
import {
  type CallOutput,
  type ClusterStatus,
  contract,
  type Problem,
  type Route,
  type RouteName,
  type WalletView,
} from "@cairn/client";
import {
  CairnError,
  Ed25519Signer,
  encodeCanonical,
  errorCodes,
  keyIdSchema,
  parseShape,
  type SignedManifest,
  sha256Hex,
  type WalletRecord,
  walletRecordSchema,
} from "@cairn/core";
import type { InitialisedCluster } from "../src/index.ts";

type Answers = { [Name in RouteName]?: (call: Call) => unknown };

/** What a route was called with, after the contract's own schemas have accepted it. */
export interface Call {
  readonly params: Record<string, string>;
  readonly query: Record<string, unknown>;
  readonly body: unknown;
  readonly headers: IncomingMessage["headers"];
}

/**
 * A node as a client sees it, made from the contract: takes what the contract allows, demands the admin token, and answers what a
 * test tells it to. Honest about the manifest, the wallet and the address unless told otherwise.
 */
export class FakeNode {
  readonly calls: { readonly name: RouteName; readonly call: Call }[] = [];
  readonly wallet: { readonly descriptor: Descriptor; readonly view: WalletView };
  answers: Answers;
  readonly #server: Server;
  readonly #streams = new Set<ServerResponse>();

  private constructor(server: Server, wallet: FakeNode["wallet"], answers: Answers) {
    this.#server = server;
    this.wallet = wallet;
    this.answers = answers;
  }

  static async start(cluster: InitialisedCluster): Promise<FakeNode> {
    const wallet = await makeWallet(cluster, "savings");
    const { descriptor, view } = wallet;
    const server = createServer((request, response) => {
      node.#serve(request, response, cluster.tokens.admin).catch((error) => response.destroy(error));
    });
    const node = new FakeNode(server, wallet, {
      getManifest: () => manifestView(cluster.signedManifest, cluster.manifestHash),
      getHistory: () => ({
        genesis: Buffer.from(encodeCanonical(cluster.signedManifest)).toString("base64"),
        policy: Buffer.from(encodeCanonical(cluster.policy)).toString("base64"),
        commits: [],
      }),
      listWallets: () => ({ wallets: [view] }),
      getAddress: () => ({
        wallet: view.record.wallet,
        address: deriveKey(descriptor, [0, 7]).address,
        path: [0, 7],
        descriptor: descriptor.text,
        unbacked: [],
      }),
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return node;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  called(name: RouteName): readonly Call[] {
    return this.calls.filter((entry) => entry.name === name).map(({ call }) => call);
  }

  /** Sends an event to everybody who listens. */
  emit(event: object): void {
    for (const stream of this.#streams) stream.write(`data: ${JSON.stringify(event)}\n\n`);
  }

  get listeners(): number {
    return this.#streams.size;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse, token: string): Promise<void> {
    const url = new URL(request.url ?? "/", "http://node");
    try {
      if (request.headers.authorization !== `Bearer ${token}`) {
        throw new CairnError("unauthenticated", "the token is not known");
      }
      if (url.pathname === "/api/v1/events") {
        response.writeHead(200, { "content-type": "text/event-stream" }).write(": connected\n\n");
        this.#streams.add(response);
        response.on("close", () => this.#streams.delete(response));
        return;
      }
      const [name, route, params] = findRoute(request.method ?? "", url.pathname);
      const text = Buffer.concat(await Array.fromAsync(request)).toString("utf8");
      const call: Call = {
        params,
        query: { ...(route.query?.parse(Object.fromEntries(url.searchParams)) ?? {}) },
        body: route.body?.parse(JSON.parse(text)),
        headers: request.headers,
      };
      this.calls.push({ name, call });
      // Looking at the chain shows what there is to see.
      const shown = name === "refreshTransaction" ? this.answers.getTransaction : undefined;
      const answer = this.answers[name] ?? shown;
      if (answer === undefined) throw new CairnError("not-found", `the test gave no answer for ${name}`);
      const document = await answer(call);
      const waits = route.waiting?.safeParse(document).success === true;
      if (!waits) route.response.parse(document);
      response
        .writeHead(waits ? 202 : route.status, { "content-type": "application/json" })
        .end(JSON.stringify(document));
    } catch (error) {
      const failure =
        error instanceof CairnError ? error : new CairnError("internal", `the fake node failed: ${error}`);
      const problem: Problem = {
        type: `urn:cairn:error:${failure.code}`,
        title: failure.code,
        status: errorCodes[failure.code].http,
        detail: failure.message,
        instance: "test",
        code: failure.code,
        data: { ...failure.data },
      };
      response
        .writeHead(problem.status, { "content-type": "application/problem+json" })
        .end(JSON.stringify(problem));
    }
  }
}

function findRoute(method: string, path: string): [RouteName, Route, Record<string, string>] {
  for (const [name, route] of Object.entries<Route>(contract)) {
    const pattern = new RegExp(`^${route.path.replace(/:([A-Za-z]+)/g, "(?<$1>[^/]+)")}$`);
    const match = pattern.exec(path);
    if (match !== null && route.method === method) return [name as RouteName, route, { ...match.groups }];
  }
  throw new CairnError("not-found", `no such route: ${method} ${path}`);
}

export function manifestView(signed: SignedManifest, hash: string): CallOutput<"getManifest"> {
  const signedManifest = Buffer.from(encodeCanonical(signed)).toString("base64");
  return { hash, sequence: signed.manifest.sequence, signedManifest };
}

/** A wallet over a fresh key, its record signed by all nodes, or by those that `signers` names. */
export async function makeWallet(
  cluster: InitialisedCluster,
  label: string,
  options: { readonly signers?: readonly number[]; readonly change?: Partial<WalletRecord> } = {},
): Promise<FakeNode["wallet"]> {
  const { manifest } = cluster.signedManifest;
  const key = randomPoint();
  const chainCode = randomPoint().subarray(1);
  const descriptor = createDescriptor("wpkh", manifest.network, key, chainCode);
  const record = parseShape(walletRecordSchema, {
    version: 1,
    cluster: manifest.cluster,
    wallet: descriptor.wallet,
    label,
    network: manifest.network,
    descriptor: descriptor.text,
    keyId: keyIdSchema.parse(sha256Hex(key)),
    protocol: "cggmp24",
    publicPackage: sha256Hex(chainCode),
    birthday: 1_800_000_000_000,
    ...options.change,
  });
  const indices = options.signers ?? manifest.members.map(({ index }) => index);
  const signatures = await Promise.all(
    indices.map(async (node) => {
      const pem = await readFile(join(cluster.dir, `node-${node}`, "identity.pem"));
      return { node, signature: Ed25519Signer.fromPem(pem).sign("cairn/wallet-record/v1", record) };
    }),
  );
  return { descriptor, view: { record, signatures } };
}

/** A compressed public key, 33 bytes. */
function randomPoint(): Buffer {
  const pair = createECDH("secp256k1");
  pair.generateKeys();
  return pair.getPublicKey(null, "compressed");
}

/** What a node of `cluster` says of it when all is well. */
export function statusView(
  { signedManifest: { manifest }, manifestHash, fingerprint }: InitialisedCluster,
  node: number,
  change: Partial<ClusterStatus> = {},
): ClusterStatus {
  return {
    cluster: manifest.cluster,
    network: "regtest",
    node,
    threshold: 4,
    total: 5,
    quorum: 4,
    up: 5,
    canSign: true,
    manifest: { sequence: 0, hash: manifestHash, fingerprint },
    policyVersion: 1,
    authorisation: "quorum",
    tipHeight: 101,
    keys: { active: 1, generating: 0, unbacked: 0 },
    primes: { ready: 4, target: 4, generating: false },
    coordination: { type: "none", state: "none", failingSince: null },
    burnCounter: 0,
    auditLength: 9,
    sync: {
      abstains: false,
      restoredAt: null,
      heard: [],
      needed: null,
      forgottenUntil: null,
      peers: [],
    },
    ...change,
  };
}
