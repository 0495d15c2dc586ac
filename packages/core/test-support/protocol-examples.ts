import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { decodeCanonical, domainTags, encodeCanonical, fromHex, toHex } from "../src/index.ts";

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

/** The example `name` as `schema` reads it; fails unless encoding it again gives the same bytes. */
export function decodeExample<Schema extends z.ZodType>(
  { examples }: Pick<z.output<typeof documentSchema>, "examples">,
  name: string,
  schema: Schema,
): z.output<Schema> {
  const encoded = examples[name]?.encoded;
  assert.ok(encoded, `docs/protocol-examples.json has no example "${name}"`);
  const value = decodeCanonical(schema, fromHex(encoded));
  assert.equal(toHex(encodeCanonical(value)), encoded, name);
  return value;
}
