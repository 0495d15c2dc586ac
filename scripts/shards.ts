/** A named part of the long tier: glob patterns from the repository's root, in at most half an hour. */
export type Shard = { name: string; patterns: string[]; native?: boolean };

/**
 * The long tier. Each `*.long.test.ts` belongs to exactly one shard, which `run-tests.ts` verifies before it starts.
 * `native` adds the Rust tests that are marked `#[ignore = "long"]`.
 */
export const shards: Shard[] = [
  { name: "native", patterns: [], native: true },
  // A million inputs for every decoder; CAIRN_FUZZ_SEED goes on where a run stopped.
  { name: "decoders-core", patterns: ["packages/core/test/fuzz/decoders*.long.test.ts"] },
  { name: "decoders-bitcoin", patterns: ["packages/bitcoin/test/fuzz/decoders*.long.test.ts"] },
  { name: "decoders-words", patterns: ["packages/{consensus,signing}/test/fuzz/decoders*.long.test.ts"] },
  { name: "decoders-client", patterns: ["packages/client/test/fuzz/decoders*.long.test.ts"] },
  { name: "decoders-edges", patterns: ["packages/{transport,pki,node}/test/fuzz/decoders*.long.test.ts"] },
  { name: "decoders-engine", patterns: ["packages/engine/test/fuzz/decoders-?-of-2.long.test.ts"] },
  { name: "decoders-ecdsa", patterns: ["packages/engine/test/fuzz/decoders-ecdsa*.long.test.ts"] },
  { name: "engine", patterns: ["packages/engine/test/**/!(decoders*).long.test.ts"] },
  { name: "storage", patterns: ["packages/storage/test/**/*.long.test.ts"] },
  // With whatever is in no other shard.
  {
    name: "node",
    patterns: ["packages/!(engine|storage|devnet|simulation)/test/**/!(decoders*).long.test.ts"],
  },
  { name: "cluster", patterns: ["packages/devnet/test/**/*.long.test.ts"] },
  { name: "simulation", patterns: ["packages/simulation/test/**/*.long.test.ts"] },
];
