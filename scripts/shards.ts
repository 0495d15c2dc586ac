/** A named part of the long tier: glob patterns from the repository's root, in at most half an hour. */
export type Shard = { name: string; patterns: string[]; native?: boolean };

/**
 * The long tier. Each `*.long.test.ts` belongs to exactly one shard, which `run-tests.ts` verifies before it starts.
 * `native` adds the Rust tests that are marked `#[ignore = "long"]`.
 */
export const shards: Shard[] = [
  { name: "native", patterns: [], native: true },
  {
    name: "machines",
    patterns: ["packages/{core,policy,bitcoin,consensus,signing,runtime,client,pki}/test/**/*.long.test.ts"],
  },
  { name: "engine", patterns: ["packages/engine/test/**/*.long.test.ts"] },
  { name: "edges", patterns: ["packages/{storage,transport}/test/**/*.long.test.ts"] },
  { name: "node", patterns: ["packages/{node,coordinator,cli,console}/test/**/*.long.test.ts"] },
  { name: "cluster", patterns: ["packages/devnet/test/**/*.long.test.ts"] },
  { name: "simulation", patterns: ["packages/simulation/test/**/*.long.test.ts"] },
];
