import { join } from "node:path";
import { fuzzDecoders } from "@cairn/core/test-support";
import { decoders, fileDecoders } from "./decoders.ts";

const corpus = join(import.meta.dirname, "corpus");
fuzzDecoders(
  decoders.filter((_, i) => i % 2 === 1),
  { runs: 1_000_000, corpus },
);
// Each opens an engine over files on the disk, which takes milliseconds.
fuzzDecoders(
  fileDecoders.filter((_, i) => i % 2 === 1),
  { runs: 100_000, corpus },
);
