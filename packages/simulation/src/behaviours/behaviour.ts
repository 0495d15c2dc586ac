import type { Ed25519Signer, NodeIndex } from "@cairn/core";
import type { ClusterPlan } from "../cluster-plan.ts";
import type { HostileNode } from "../hostile-node.ts";
import type { SeededRandom } from "../seeded-random.ts";

/** What a behaviour may use. */
export interface Stage {
  readonly hostile: HostileNode;
  readonly plan: ClusterPlan;
  readonly signer: Ed25519Signer;
  readonly random: SeededRandom;
  readonly honest: readonly NodeIndex[];
  /** Does something later, while the behaviour lasts. */
  readonly after: (delayMs: number, run: () => void) => void;
}

/** Makes a hostile node lie in one way, from now until another behaviour takes its place. */
export type Behaviour = (stage: Stage) => void;
