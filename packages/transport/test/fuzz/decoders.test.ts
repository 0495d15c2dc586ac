import { join } from "node:path";
import { fuzzDecoders } from "@cairn/core/test-support";
import { decoders } from "./decoders.ts";

fuzzDecoders(decoders, { runs: 1000, corpus: join(import.meta.dirname, "corpus") });
