import { readFileSync } from "node:fs";
import { join } from "node:path";
import { domainTags } from "@cairn/core";
import { z } from "zod";

const documentSchema = z.object({
  keys: z.record(z.string(), z.object({ private: z.string(), public: z.string() })),
  examples: z.record(
    z.string(),
    z.object({
      domain: z.enum(domainTags).nullable(),
      signer: z.string().nullable(),
      body: z.unknown(),
      encoded: z.string(),
      hash: z.string().nullable(),
      signature: z.string().nullable(),
    }),
  ),
});

/** The examples of docs/protocol.md. `node scripts/generate-docs.ts` makes them anew after a change that is meant. */
export function readProtocolExamples(): z.output<typeof documentSchema> {
  const file = join(import.meta.dirname, "..", "..", "..", "docs", "protocol-examples.json");
  return documentSchema.parse(JSON.parse(readFileSync(file, "utf8")));
}
