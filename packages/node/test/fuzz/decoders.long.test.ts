import { join } from "node:path";
import { fuzzDecoders } from "@cairn/core/test-support";
import { decoders } from "./decoders.ts";

fuzzDecoders(decoders, {
  runs: 100_000,
  corpus: join(import.meta.dirname, "corpus"),
});
