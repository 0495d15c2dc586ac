import type { Behaviour } from "./behaviour.ts";

const library = {
  honest: () => {},
} satisfies Record<string, Behaviour>;

export type BehaviourName = keyof typeof library;

/** All that a hostile node may do. */
export const behaviours: Readonly<Record<BehaviourName, Behaviour>> = library;
export const behaviourNames = Object.keys(library) as BehaviourName[];
