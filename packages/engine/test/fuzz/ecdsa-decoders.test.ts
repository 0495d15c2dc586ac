import { join } from "node:path";
import { fuzzDecoders } from "@cairn/core/test-support";
import { decoders, exchangeDecoders, sessionDecoders } from "./ecdsa-decoders.ts";

const corpus = join(import.meta.dirname, "corpus");
fuzzDecoders([...decoders, ...sessionDecoders], { runs: 1000, corpus });
// Each input takes a whole session of two nodes.
fuzzDecoders(exchangeDecoders, { runs: 10, corpus });
