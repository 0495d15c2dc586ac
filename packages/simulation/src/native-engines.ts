import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createReducedEngine } from "@cairn/engine/reduced";
import type { ClusterPlan } from "./cluster-plan.ts";
import { NativeTurns } from "./native-turns.ts";
import { type Provision, provision } from "./provision.ts";
import type { EngineMaker } from "./simulated-cluster.ts";

/** The native engines of a simulated cluster, in a folder of their own, with a real FROST key. */
export class NativeEngines {
  readonly plan: ClusterPlan;
  readonly #dir: string;
  readonly #turns = new NativeTurns();

  private constructor(plan: ClusterPlan, dir: string) {
    this.plan = plan;
    this.#dir = dir;
  }

  static async open(plan: ClusterPlan): Promise<NativeEngines> {
    const dir = await mkdtemp(join(tmpdir(), "cairn-simulation-"));
    for (const node of plan.members)
      await writeFile(join(dir, `${node}.key`), randomBytes(32), { mode: 0o600 });
    return new NativeEngines(plan, dir);
  }

  /** For `RunModules`: what runs on native threads now. */
  readonly busy = (): Promise<void> | null => this.#turns.busy();

  readonly make: EngineMaker = (node, schedule) =>
    this.#turns.ask(async () => {
      const { engine } = await createReducedEngine({
        clusterId: this.plan.manifest.cluster,
        me: node,
        dataDir: join(this.#dir, `node-${node}`),
        keySource: { kind: "file", path: join(this.#dir, `${node}.key`) },
        threads: 1,
        primes: { target: 0 },
      });
      return this.#turns.inOrder(engine, schedule);
    });

  /** Makes a FROST key in a cluster without faults. */
  provision(): Promise<Provision> {
    return provision(this.plan, ["frost"], this.make, this.busy);
  }

  async close(): Promise<void> {
    await rm(this.#dir, { recursive: true, force: true });
  }
}
