import { randomBytes } from "node:crypto";
import { deriveKey, parseDescriptor } from "@cairn/bitcoin";
import { type Role, spendRequestToJson } from "@cairn/client";
import {
  type Change,
  encodeCanonical,
  manifestHash,
  nodeIndexSchema,
  type Policy,
  policyHash,
  type SignedSpendApproval,
  type SpendApproval,
  type SpendRequest,
  satsSchema,
  signBody,
  signChange,
  signChangeProposal,
  signSpendApproval,
  spendRequestHash,
  systemClock,
  systemRandom,
  type UnixMs,
} from "@cairn/core";
import { type MemoryDisk, openMemoryStore } from "@cairn/storage";
import type { ApiModules } from "../src/api-modules.ts";
import {
  createLog,
  type RestServer,
  type RestServerOptions,
  startRestServer,
  tokenHash,
} from "../src/index.ts";
import { createMetrics } from "../src/metrics.ts";
import { SpendFactsCache } from "../src/spend-facts-cache.ts";
import { FakeNode } from "./fake-node.ts";
import { type TestCluster, testCluster } from "./node-folder.ts";
import { signedKeygen } from "./signed-keygen.ts";

export const tokenOf = (role: Role): string => `${role}-token-of-tests`;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Of a JSON answer. */
  readonly json: Record<string, unknown>;
}

export interface RestFixtureOptions {
  readonly cluster?: TestCluster;
  readonly disk?: MemoryDisk;
  readonly api?: Partial<RestServerOptions["api"]>;
  readonly server?: Partial<RestServerOptions>;
}

/** A REST server on a free port of loopback over a fake node and a store in memory. */
export class RestFixture {
  readonly url: string;
  readonly cluster: TestCluster;
  readonly node: FakeNode;
  readonly server: RestServer;
  readonly store: ReturnType<typeof openMemoryStore>;
  readonly log: string[];

  private constructor(parts: Pick<RestFixture, "cluster" | "node" | "server" | "store" | "log">) {
    this.cluster = parts.cluster;
    this.node = parts.node;
    this.server = parts.server;
    this.store = parts.store;
    this.log = parts.log;
    this.url = parts.server.url;
  }

  static async start(options: RestFixtureOptions = {}): Promise<RestFixture> {
    const cluster = options.cluster ?? testCluster();
    const store = openMemoryStore(options.disk === undefined ? {} : { disk: options.disk });
    const node = await FakeNode.open(cluster, { store, clock: systemClock });
    const lines: string[] = [];
    const log = createLog(
      { level: "debug", fields: { node: 1 } },
      { destination: { write: (line) => lines.push(line) }, clock: systemClock },
    );
    const { manifest, signedManifest } = cluster;
    const api: ApiModules = {
      me: nodeIndexSchema.parse(1),
      manifest,
      manifestHash: manifestHash(manifest),
      genesis: signedManifest,
      protocolVersions: [1],
      version: "1.2.3",
      epoch: 4,
      presignatures: { target: 50, refill_below: 20, batch: 10, check_ms: 300_000 },
      node,
      events: node,
      alerts: { look: async () => node.alerts },
      coordination: () => ({ type: "none", failingSince: null }),
      store,
      makeBackup: async () => node.makeBackup(),
      storageWritable: () => true,
      clockAgrees: () => true,
      spendFacts: new SpendFactsCache(),
      primes: async () => ({ ready: 3, target: 4, generating: true }),
      chainOk: () => true,
      chain: node.chainSource,
      clock: systemClock,
      random: systemRandom,
    };
    const roles: Role[] = ["viewer", "spender", "operator", "admin"];
    const server = await startRestServer(
      {
        api: {
          listen: "127.0.0.1:0",
          tls_certificate: null,
          tls_key: null,
          cors_origins: [],
          rate_per_minute: 10_000,
          max_body_bytes: 65_536,
          max_connections: 1_024,
          idempotency_days: 30,
          tokens: roles.map((role) => ({ name: role, role, hash: tokenHash(tokenOf(role)) })),
          ...options.api,
        },
        tls: null,
        ...options.server,
      },
      {
        api,
        store,
        log,
        metrics: createMetrics(),
        clock: systemClock,
        random: systemRandom,
        report: (cause) => lines.push(`report: ${cause}\n`),
      },
    );
    return new RestFixture({ cluster, node, server, store, log: lines });
  }

  /** One request. `body` is sent as it is when it is text, else as JSON. */
  async call(
    method: "GET" | "POST" | "PUT" | "OPTIONS",
    path: string,
    options: {
      readonly role?: Role | null;
      readonly body?: unknown;
      readonly headers?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<Answer> {
    const role = options.role === undefined ? "admin" : options.role;
    const body =
      options.body === undefined
        ? {}
        : { body: typeof options.body === "string" ? options.body : JSON.stringify(options.body) };
    const response = await fetch(this.url + path, {
      method,
      headers: {
        ...(role === null ? {} : { authorization: `Bearer ${tokenOf(role)}` }),
        ...(options.body === undefined ? {} : { "content-type": "application/json" }),
        ...options.headers,
      },
      ...body,
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json") ?? false;
    return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : {} };
  }

  /** A recipient of the wallet's own network. */
  recipient(): string {
    return deriveKey(parseDescriptor(this.node.wallet.signed.record.descriptor, "regtest"), [0, 5]).address;
  }

  spendRequest(change: Partial<SpendRequest> = {}): SpendRequest {
    const { manifest, owner } = this.cluster;
    const now = systemClock.now();
    return {
      version: 1,
      cluster: manifest.cluster,
      network: "regtest",
      wallet: this.node.wallet.signed.record.wallet,
      outputs: [{ address: this.recipient(), amountSats: satsSchema.parse(40_000n) }],
      maxFeeSats: satsSchema.parse(20_000n),
      feeRateSatsPerKvb: null,
      nonce: randomBytes(32).toString("hex") as SpendRequest["nonce"],
      createdAt: now,
      expiry: (now + 3_600_000) as SpendRequest["expiry"],
      replaces: null,
      requester: owner.publicKey,
      ...change,
    };
  }

  /** JSON body of a spend that the owner signed. */
  signedSpend(change: Partial<SpendRequest> = {}): ReturnType<typeof spendRequestToJson> {
    return spendRequestToJson(
      signBody("cairn/spend-request/v1", this.spendRequest(change), this.cluster.owner),
    );
  }

  /** JSON body of a proposal of the first operator's: to pay at most `limitSats` at once. */
  proposal(limitSats = 1_000n): { readonly proposal: string; readonly signature: string } {
    const book = this.node.manifests;
    const [operator] = this.cluster.operators;
    if (operator === undefined) throw new RangeError("no operator");
    const now = systemClock.now();
    const policy: Policy = {
      ...book.policy,
      policyVersion: book.policy.policyVersion + 1,
      perTransactionMaxSats: satsSchema.parse(limitSats),
    };
    const change: Change = {
      type: "manifest",
      manifest: {
        ...book.manifest,
        sequence: book.manifest.sequence + 1,
        previous: book.manifestHash,
        createdAt: now,
        effectiveAt: (now + book.manifest.changeDelayMs) as UnixMs,
        policy: policyHash(policy),
        policyVersion: policy.policyVersion,
      },
      policy,
    };
    const signed = signChangeProposal(
      {
        version: 1,
        cluster: book.manifest.cluster,
        manifestHash: book.manifestHash,
        change,
        createdAt: now,
        expiry: (now + 3_600_000) as UnixMs,
        operator: operator.publicKey,
      },
      operator,
    );
    return {
      proposal: Buffer.from(encodeCanonical(signed)).toString("base64"),
      signature: signChange(change, operator),
    };
  }

  /** JSON body of the approver's consent to a request. */
  signedApproval(change: Partial<SpendApproval> = {}): SignedSpendApproval {
    const { manifest, approver } = this.cluster;
    const now = systemClock.now();
    const approval = {
      version: 1,
      cluster: manifest.cluster,
      requestHash: spendRequestHash(this.spendRequest()),
      approver: approver.publicKey,
      createdAt: now,
      expiry: (now + 3_600_000) as SpendApproval["expiry"],
      ...change,
    } as const;
    return signSpendApproval(approval, approver);
  }

  /** JSON body of a keygen request that an operator signed. */
  signedKeygen(): unknown {
    return signedKeygen(this.cluster, { protocol: "cggmp24" });
  }

  async close(): Promise<void> {
    await this.server.close();
    await this.store.close();
  }
}
