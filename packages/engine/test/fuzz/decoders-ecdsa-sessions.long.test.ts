import { join } from "node:path";
import { fuzzDecoders } from "@cairn/core/test-support";
import { exchangeDecoders, sessionDecoders } from "./ecdsa-decoders.ts";

const corpus = join(import.meta.dirname, "corpus");
fuzzDecoders(sessionDecoders, { runs: 100_000, corpus });
fuzzDecoders(exchangeDecoders, { runs: 1_000, corpus });
