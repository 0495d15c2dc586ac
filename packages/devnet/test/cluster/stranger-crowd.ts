import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { Ed25519Signer, type Manifest, type NodeIndex, systemRandom } from "@cairn/core";
import { certificateToPem, createAuthority, issueNodeCertificate } from "@cairn/pki";

/** How long a stranger stays on a connection that the other side leaves open, in milliseconds. */
const STAY_MS = 3_000;
/** Time between two acts of one stranger. */
const PAUSE_MS = 100;

type Act = (place: Place) => Promise<void>;

interface Place {
  readonly host: string;
  readonly port: number;
  /** Address that the stranger comes from. */
  readonly localAddress: string;
}

/**
 * Strangers at the peers' port of every node at once: random bytes, half-open and slow connections, broken handshakes, certificates of
 * another authority, and connections for their own sake. Each sort keeps at it at each node until {@link leave}.
 */
export class StrangerCrowd {
  /** How often each sort has acted. */
  readonly acts: Record<string, number> = {};
  readonly #sockets = new Set<Socket>();
  readonly #running: Promise<void>[] = [];
  #leaving = false;

  constructor(manifest: Manifest, perNode: number) {
    const sorts = this.#sorts(manifest);
    for (const { index, addresses } of manifest.members) {
      const { hostname, port } = new URL((addresses[0] ?? "").replace("tcp:", "http:"));
      for (const [at, [name, act]] of Object.entries(sorts).entries()) {
        for (let copy = 0; copy < perNode; copy += 1) {
          const localAddress = `127.77.${index}.${1 + at * perNode + copy}`;
          this.#running.push(this.#keepAt(name, act, { host: hostname, port: Number(port), localAddress }));
        }
      }
    }
  }

  /** Ends all of it. */
  async leave(): Promise<void> {
    this.#leaving = true;
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#running);
  }

  async #keepAt(name: string, act: Act, place: Place): Promise<void> {
    while (!this.#leaving) {
      await act(place);
      this.acts[name] = (this.acts[name] ?? 0) + 1;
      await wait(PAUSE_MS);
    }
  }

  #sorts(manifest: Manifest): Record<string, Act> {
    const stranger = Ed25519Signer.generate();
    const authority = createAuthority({ now: Date.now() }, { random: systemRandom });
    const certificate = issueNodeCertificate(
      authority,
      { cluster: manifest.cluster, index: 2 as NodeIndex, identity: stranger.publicKey },
      { now: Date.now() },
      { random: systemRandom },
    );
    const credentials = {
      cert: Buffer.from(certificateToPem(certificate)),
      key: Buffer.from(stranger.toPem()),
      rejectUnauthorized: false,
    };
    return {
      "random bytes": (place) =>
        this.#visit(place, async (socket) => {
          socket.end(systemRandom.bytes(1 + Math.floor(Math.random() * 32_768)));
        }),
      "nothing at all": (place) => this.#visit(place, async () => {}),
      // The beginning of a TLS record that says it will be long.
      "a byte now and then": (place) =>
        this.#visit(place, async (socket) => {
          for (const byte of [0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0x00, 0x3f, 0xfc, 0x03]) {
            if (socket.destroyed) return;
            socket.write(Uint8Array.of(byte));
            await wait(200);
          }
        }),
      "in and out": (place) =>
        this.#visit(place, async (socket) => {
          socket.destroy();
        }),
      "a foreign certificate": (place) =>
        this.#visit(place, async (socket) => {
          const secure = connectTls({ socket, ...credentials });
          secure.on("error", () => undefined);
          secure.on("secureConnect", () => secure.write(systemRandom.bytes(4_096)));
        }),
    };
  }

  async #visit({ host, port, localAddress }: Place, act: (socket: Socket) => Promise<void>): Promise<void> {
    const socket = connect({ host, port, localAddress });
    this.#sockets.add(socket);
    socket.on("error", () => undefined);
    socket.resume();
    const closed = new Promise((resolve) => socket.once("close", resolve));
    const connected = await Promise.race([
      once(socket, "connect").then(
        () => true,
        () => false,
      ),
      closed,
    ]);
    if (connected === true) await act(socket);
    const patience = setTimeout(() => socket.destroy(), STAY_MS);
    await closed;
    clearTimeout(patience);
    this.#sockets.delete(socket);
  }
}
