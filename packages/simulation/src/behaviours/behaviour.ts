import type { Ed25519Signer, NodeIndex } from "@cairn/core";
import type { HostileNode, Liar } from "@cairn/runtime/test-support";
import type { SeededRandom } from "../seeded-random.ts";

/** What a behaviour may use. */
export interface Stage extends Liar {
  readonly hostile: HostileNode;
  readonly signer: Ed25519Signer;
  readonly random: SeededRandom;
  readonly honest: readonly NodeIndex[];
  /** Does something later, while the behaviour lasts. */
  readonly after: (delayMs: number, run: () => void) => void;
}

/** Makes a hostile node lie in one way, from now until another behaviour takes its place. */
export type Behaviour = (stage: Stage) => void;
