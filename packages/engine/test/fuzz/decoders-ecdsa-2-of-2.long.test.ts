import { join } from "node:path";
import { fuzzDecoders } from "@cairn/core/test-support";
import { decoders } from "./ecdsa-decoders.ts";

fuzzDecoders(
  decoders.filter((_, i) => i % 2 === 1),
  { runs: 1_000_000, corpus: join(import.meta.dirname, "corpus") },
);
