import { join } from "node:path";
import { fuzzDecoders } from "@cairn/core/test-support";
import { decoders, fileDecoders } from "./decoders.ts";

fuzzDecoders([...decoders, ...fileDecoders], { runs: 1000, corpus: join(import.meta.dirname, "corpus") });
