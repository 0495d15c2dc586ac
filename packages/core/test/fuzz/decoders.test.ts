import { join } from "node:path";
import { fuzzDecoders } from "../../test-support/index.ts";
import { decoders } from "./decoders.ts";

fuzzDecoders(decoders, { runs: 1000, corpus: join(import.meta.dirname, "corpus") });
