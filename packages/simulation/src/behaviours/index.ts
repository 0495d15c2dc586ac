import * as anything from "./anything.ts";
import type { Behaviour } from "./behaviour.ts";
import * as intents from "./intents.ts";
import * as sessions from "./sessions.ts";
import * as votes from "./votes.ts";

const library = { ...votes, ...intents, ...sessions, ...anything } satisfies Record<string, Behaviour>;

export type BehaviourName = keyof typeof library;

/** All that a hostile node may do. */
export const behaviours: Readonly<Record<BehaviourName, Behaviour>> = library;
export const behaviourNames = Object.keys(library).toSorted() as BehaviourName[];
