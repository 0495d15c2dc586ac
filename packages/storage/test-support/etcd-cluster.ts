import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FreeEndpoint, freeEndpoints } from "@cairn/core/test-support";

export interface EtcdFlags {
  /** Of every member, given the address that all listen at, e.g. for TLS. */
  readonly flags?: (host: string) => Promise<readonly string[]>;
  readonly scheme?: "http" | "https";
}

interface Member {
  readonly client: FreeEndpoint;
  readonly peer: FreeEndpoint;
  process: ChildProcess | null;
}

/** Real etcd servers of a test's own: loopback, a temporary folder. */
export class EtcdCluster {
  readonly #folder: string;
  readonly #members: readonly Member[];
  readonly #options: EtcdFlags;

  private constructor(folder: string, members: readonly Member[], options: EtcdFlags) {
    this.#folder = folder;
    this.#members = members;
    this.#options = options;
  }

  /** @param size members; resolves once they answer */
  static async start(size: number, options: EtcdFlags = {}): Promise<EtcdCluster> {
    const folder = await mkdtemp(join(tmpdir(), "cairn-etcd-"));
    const places = await freeEndpoints(2 * size);
    const members = Array.from({ length: size }, (_, at): Member => {
      const [client, peer] = places.slice(2 * at);
      if (client === undefined || peer === undefined) throw new RangeError("too few places");
      return { client, peer, process: null };
    });
    const cluster = new EtcdCluster(folder, members, options);
    try {
      await Promise.all(members.map((_, at) => cluster.run(at)));
      return cluster;
    } catch (cause) {
      await cluster.remove();
      throw cause;
    }
  }

  get endpoints(): string[] {
    return this.#members.map(({ client }) => this.#clientUrl(client));
  }

  /** Runs a member that does not; resolves once it answers requests. */
  async run(at: number): Promise<void> {
    const member = this.#member(at);
    const url = this.#clientUrl(member.client);
    const child = spawn(
      "etcd",
      [
        ...["--name", `m${at}`, "--data-dir", join(this.#folder, `m${at}`)],
        ...["--listen-client-urls", url, "--advertise-client-urls", url],
        ...["--listen-peer-urls", `http://${member.peer.address}`],
        ...["--initial-advertise-peer-urls", `http://${member.peer.address}`],
        "--initial-cluster",
        this.#members.map(({ peer }, index) => `m${index}=http://${peer.address}`).join(),
        ...["--logger", "zap", "--log-outputs", "stderr"],
        ...((await this.#options.flags?.(member.client.host)) ?? []),
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    member.process = child;
    let said = "";
    await new Promise<void>((resolve, reject) => {
      child.once("error", (cause) =>
        reject(new Error("can't run etcd: `make services` installs it", { cause })),
      );
      child.once("exit", (code) => reject(new Error(`etcd ended (${code}): ${said.slice(-2_000)}`)));
      child.stderr?.on("data", (chunk: Buffer) => {
        said = (said + chunk.toString()).slice(-10_000);
        if (/serving client traffic/.test(said)) resolve();
      });
    });
  }

  async kill(at: number): Promise<void> {
    const { process } = this.#member(at);
    this.#member(at).process = null;
    if (process === null || process.exitCode !== null) return;
    const exit = once(process, "exit");
    process.kill("SIGKILL");
    await exit;
  }

  /** The member keeps its connections and answers nothing. */
  freeze(at: number): void {
    this.#member(at).process?.kill("SIGSTOP");
  }

  thaw(at: number): void {
    this.#member(at).process?.kill("SIGCONT");
  }

  async remove(): Promise<void> {
    await Promise.all(this.#members.map((_, at) => this.kill(at)));
    await rm(this.#folder, { recursive: true, force: true });
  }

  #member(at: number): Member {
    const member = this.#members[at];
    if (member === undefined) throw new RangeError(`no member ${at}`);
    return member;
  }

  #clientUrl(place: FreeEndpoint): string {
    return `${this.#options.scheme ?? "http"}://${place.address}`;
  }
}
