import {
  type Ed25519Signer,
  type Manifest,
  type NodeIndex,
  systemClock,
  systemRandom,
  type Transport,
} from "@cairn/core";
import { type FreeEndpoint, freeEndpoints } from "@cairn/core/test-support";
import { type Authority, createAuthority, issueNodeCertificate } from "@cairn/pki";
import {
  createTcpTransport,
  type TcpLimits,
  type TcpTransport,
  type TransportMetrics,
} from "../src/index.ts";
import { nodeOf, type TestCluster, testCluster } from "./test-cluster.ts";
import type { TransportNetwork } from "./transport-contract.ts";

export interface TcpSelf {
  readonly epoch?: number;
  readonly protocolVersions?: readonly number[];
  readonly limits?: Partial<TcpLimits>;
  readonly certificate?: Uint8Array;
  readonly signer?: Ed25519Signer;
  readonly manifest?: Manifest;
  readonly metrics?: TransportMetrics;
  readonly report?: (cause: unknown) => void;
}

const QUICK: Partial<TcpLimits> = {
  reconnectBaseMs: 20,
  reconnectMaxMs: 200,
  headStartMs: 50,
  attemptsPerSecond: 500,
  strangersPerSecond: 500,
};

/** Five members on loopback ports, each with a certificate of one authority. */
export class TcpNetwork implements TransportNetwork {
  readonly cluster: TestCluster;
  readonly authority: Authority;
  readonly #places: readonly FreeEndpoint[];
  readonly #open: Transport[] = [];

  private constructor(authority: Authority, cluster: TestCluster, places: readonly FreeEndpoint[]) {
    this.authority = authority;
    this.cluster = cluster;
    this.#places = places;
  }

  static async open(): Promise<TcpNetwork> {
    const authority = createAuthority({ now: Date.now() }, { random: systemRandom });
    const places = await freeEndpoints(5);
    const cluster = testCluster(5, {
      caFingerprint: authority.fingerprint,
      addresses: places.map(({ address }) => `tcp://${address}`),
      protocolVersions: [1, 2],
    });
    return new TcpNetwork(authority, cluster, places);
  }

  certificate(
    node: NodeIndex,
    change: {
      readonly authority?: Authority;
      readonly identity?: Ed25519Signer;
      readonly validForMs?: number;
    } = {},
  ): Uint8Array {
    const identity = (change.identity ?? nodeOf(this.cluster, node).signer).publicKey;
    const { cluster } = this.cluster.manifest;
    return issueNodeCertificate(
      change.authority ?? this.authority,
      { cluster, index: node, identity },
      { now: Date.now(), ...(change.validForMs === undefined ? {} : { validForMs: change.validForMs }) },
      { random: systemRandom },
    );
  }

  /** Where a member listens. */
  place(node: NodeIndex): FreeEndpoint {
    const place = this.#places[node - 1];
    if (place === undefined) throw new RangeError(`no member ${node}`);
    return place;
  }

  tcp(node: NodeIndex, self: TcpSelf = {}): TcpTransport {
    const transport = createTcpTransport(
      {
        me: node,
        epoch: self.epoch ?? 0,
        protocolVersions: self.protocolVersions ?? [1],
        listen: this.place(node),
        manifest: self.manifest ?? this.cluster.manifest,
        credentials: {
          certificate: self.certificate ?? this.certificate(node),
          authority: this.authority.certificate,
          revocations: null,
        },
        limits: { ...QUICK, ...self.limits },
      },
      {
        clock: systemClock,
        random: systemRandom,
        signer: self.signer ?? nodeOf(this.cluster, node).signer,
        ...(self.metrics === undefined ? {} : { metrics: self.metrics }),
        ...(self.report === undefined ? {} : { report: self.report }),
      },
    );
    this.#open.push(transport);
    return transport;
  }

  async transport(node: NodeIndex, self: TcpSelf = {}): Promise<TcpTransport> {
    return this.tcp(node, self);
  }

  async close(): Promise<void> {
    for (const transport of this.#open) await transport.close();
  }
}
