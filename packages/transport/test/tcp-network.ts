import {
  type Ed25519Signer,
  type Manifest,
  type NodeIndex,
  systemClock,
  systemRandom,
  type Transport,
} from "@cairn/core";
import { type Authority, createAuthority, issueNodeCertificate } from "@cairn/pki";
import { createTcpTransport, type TcpLimits, type TcpTransport } from "../src/index.ts";
import { freePorts } from "./free-ports.ts";
import { nodeOf, type TestCluster, testCluster } from "./test-cluster.ts";
import type { TransportNetwork } from "./transport-contract.ts";

export interface TcpSelf {
  readonly epoch?: number;
  readonly protocolVersions?: readonly number[];
  readonly limits?: Partial<TcpLimits>;
  readonly certificate?: Uint8Array;
  readonly signer?: Ed25519Signer;
  readonly manifest?: Manifest;
  readonly report?: (cause: unknown) => void;
}

const QUICK: Partial<TcpLimits> = {
  reconnectBaseMs: 20,
  reconnectMaxMs: 200,
  headStartMs: 50,
  attemptsPerSecond: 500,
};

/** Five members on loopback ports, each with a certificate of one authority. */
export class TcpNetwork implements TransportNetwork {
  readonly cluster: TestCluster;
  readonly authority: Authority;
  readonly ports: readonly number[];
  readonly #open: Transport[] = [];

  private constructor(authority: Authority, cluster: TestCluster, ports: readonly number[]) {
    this.authority = authority;
    this.cluster = cluster;
    this.ports = ports;
  }

  static async open(): Promise<TcpNetwork> {
    const authority = createAuthority({ now: Date.now() }, { random: systemRandom });
    const ports = await freePorts(5);
    const cluster = testCluster(5, {
      caFingerprint: authority.fingerprint,
      addresses: ports.map((port) => `tcp://127.0.0.1:${port}`),
      protocolVersions: [1, 2],
    });
    return new TcpNetwork(authority, cluster, ports);
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

  port(node: NodeIndex): number {
    return this.ports[node - 1] ?? 0;
  }

  tcp(node: NodeIndex, self: TcpSelf = {}): TcpTransport {
    const transport = createTcpTransport(
      {
        me: node,
        epoch: self.epoch ?? 0,
        protocolVersions: self.protocolVersions ?? [1],
        listen: { host: "127.0.0.1", port: this.port(node) },
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
