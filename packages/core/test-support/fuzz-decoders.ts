import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { z } from "zod";
import { type CairnError, decodeCanonical, encodeCanonical, fromHex, isCairnError } from "../src/index.ts";
import { alteredValue } from "./altered-value.ts";
import { readProtocolExamples } from "./protocol-examples.ts";

/** Something that reads bytes of strangers. What takes text is wrapped to take the bytes of its UTF-8. */
export interface Decoder {
  /** Unique in its package; the name of its folder in the corpus. */
  readonly name: string;
  /** Valid inputs, from which spoilt ones are made. Each must decode. */
  readonly samples: readonly Uint8Array[];
  /** Further inputs to spoil, which need not decode: for what only a long exchange would make a valid one of. */
  readonly near?: readonly Uint8Array[];
  decode(input: Uint8Array): unknown;
  /**
   * The bytes of a decoded value. For formats with one encoding a value: whatever decodes must come out as it came in.
   * Left out where a format has several spellings of one value.
   */
  encode?(value: never): Uint8Array;
  /** A sample as a value, and bytes of such a value: for formats whose values can be altered without breaking the form. */
  readonly form?: { read(sample: Uint8Array): unknown; write(value: unknown): Uint8Array };
}

export interface FuzzOptions {
  /** Inputs for each decoder. */
  readonly runs: number;
  /** Folder with one folder a decoder, which hold inputs that once broke it. */
  readonly corpus: string;
}

/** A decoder of canonical structures, with the example of docs/protocol-examples.json as its sample. */
export function structureDecoder(example: string, schema: z.ZodType): Decoder {
  const encoded = readProtocolExamples().examples[example]?.encoded;
  assert.ok(encoded, `docs/protocol-examples.json has no example "${example}"`);
  return {
    name: example,
    samples: [fromHex(encoded)],
    decode: (input) => decodeCanonical(schema, input),
    encode: encodeCanonical,
    form: { read: (sample) => decodeCanonical(z.unknown(), sample), write: encodeCanonical },
  };
}

/** A decoder of JSON; `decode` gets the text. */
export function jsonDecoder<Value>(
  name: string,
  samples: readonly unknown[],
  decode: (text: string) => Value,
): Decoder {
  return {
    ...textDecoder(
      name,
      samples.map((sample) => JSON.stringify(sample)),
      decode,
    ),
    form: {
      read: (sample) => JSON.parse(Buffer.from(sample).toString("utf8")),
      write: (value) => new Uint8Array(Buffer.from(JSON.stringify(value) ?? "", "utf8")),
    },
  };
}

/** A decoder of text. */
export function textDecoder<Value>(
  name: string,
  samples: readonly string[],
  decode: (text: string) => Value,
  encode?: (value: Value) => string,
): Decoder {
  const toBytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "utf8"));
  const decoder: Decoder = {
    name,
    samples: samples.map(toBytes),
    decode: (input) => decode(Buffer.from(input).toString("utf8")),
  };
  return encode === undefined ? decoder : { ...decoder, encode: (value) => toBytes(encode(value)) };
}

/** Inputs under one seed; the next thousand have the next seed. A failure names its seed. */
const RUNS_PER_SEED = 1000;
/** Seed from which to go on, as a failed or interrupted run named it. */
const SEED = "CAIRN_FUZZ_SEED";
/** Time one input may take: no honest decoder needs a hundredth of it. */
const LIMIT_MS = 5000;

/**
 * Declares the tests of each decoder: its samples decode, what once broke it does not any more, and of `runs` random,
 * spoilt and cut-off inputs each is either refused with a typed error or is what its value encodes to.
 */
export function fuzzDecoders(decoders: readonly Decoder[], options: FuzzOptions): void {
  const names = decoders.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length, "each decoder has a name of its own");
  for (const decoder of decoders) {
    const folder = join(options.corpus, decoder.name);
    test(`${decoder.name}: reads its samples and refuses its corpus by name`, async () => {
      assert.ok(startsOf(decoder).length > 0, "a decoder without samples is hardly tried");
      for (const sample of decoder.samples) {
        const refusal = await refusalOf(decoder, sample);
        assert.equal(refusal, null, `a sample must decode: ${refusal?.message}`);
      }
      for (const file of existsSync(folder) ? readdirSync(folder) : []) {
        await refusalOf(decoder, new Uint8Array(readFileSync(join(folder, file))));
      }
    });
    test(`${decoder.name}: of ${options.runs} inputs each decodes whole or is refused by name`, async () => {
      const inputs = inputsOf(decoder);
      const first = Number(process.env[SEED] ?? 1);
      assert.ok(Number.isSafeInteger(first) && first >= 0, `${SEED} is a whole number`);
      const last = Math.ceil(options.runs / RUNS_PER_SEED);
      for (let seed = first; seed <= Math.max(first, last); seed++) {
        const found = await fc.check(
          fc.asyncProperty(inputs, async (input) => {
            await refusalOf(decoder, input);
          }),
          { seed, numRuns: Math.min(RUNS_PER_SEED, options.runs) },
        );
        if (!found.failed) continue;
        const [input] = found.counterexample ?? [];
        const file = input === undefined ? "nowhere" : keep(folder, input);
        assert.fail(
          `${decoder.name} broke on an input that is now in ${file}; ${SEED}=${seed} finds it again: ${String(found.errorInstance)}`,
        );
      }
    });
  }
}

/** The error by which the decoder refuses the input, or null; fails unless a refusal is typed, and an acceptance exact. */
async function refusalOf(decoder: Decoder, input: Uint8Array): Promise<CairnError | null> {
  // A decoder that keeps or changes what it was given must not change what is compared.
  const given = input.slice();
  const started = performance.now();
  let value: unknown;
  try {
    value = await decoder.decode(given);
  } catch (error) {
    assert.ok(
      isCairnError(error),
      `not a typed error: ${error instanceof Error ? error.stack : String(error)}`,
    );
    assert.notEqual(error.code, "internal", error.stack);
    assert.ok(error.message.length < 2000, "a refusal does not repeat what it refuses");
    return error;
  } finally {
    const took = performance.now() - started;
    assert.ok(took < LIMIT_MS, `${input.length} bytes took ${took} ms`);
  }
  assert.ok(Buffer.compare(given, input) === 0, "a decoder leaves its input as it is");
  if (decoder.encode !== undefined) {
    const again = decoder.encode(value as never);
    assert.ok(
      Buffer.compare(again, input) === 0,
      `accepted, but encodes to other bytes: ${Buffer.from(again.subarray(0, 200)).toString("hex")}`,
    );
  }
  return null;
}

function keep(folder: string, input: Uint8Array): string {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, createHash("sha256").update(input).digest("hex").slice(0, 16));
  writeFileSync(file, input);
  return file;
}

/** Bytes that decoders stumble over: ends of ranges, lengths, markers of text formats. */
const notable = [
  0, 1, 0x7f, 0x80, 0xff, 0xfd, 0xfe, 0x18, 0x1b, 0x5f, 0x9f, 0xbf, 0xf6, 0xf7, 0x22, 0x2f, 0x7b, 0x2d,
];

type Edit = readonly [kind: number, at: number, value: number, length: number];

function startsOf({ samples, near = [] }: Decoder): readonly Uint8Array[] {
  return [...samples, ...near];
}

function inputsOf(decoder: Decoder): fc.Arbitrary<Uint8Array> {
  const { form } = decoder;
  const samples = startsOf(decoder);
  const edit: fc.Arbitrary<Edit> = fc.tuple(fc.nat(9), fc.nat(0xffff), fc.nat(255), fc.nat(40));
  const spoilt = fc
    .tuple(
      fc.nat(samples.length - 1),
      fc.nat(samples.length - 1),
      fc.array(edit, { minLength: 1, maxLength: 6 }),
    )
    .map(([one, other, edits]) => {
      const donor = samples[other] ?? new Uint8Array();
      return edits.reduce((bytes, change) => edited(bytes, donor, change), samples[one] ?? new Uint8Array());
    });
  const random = fc.uint8Array({ maxLength: 300 });
  if (form === undefined) {
    return fc.oneof({ weight: 9, arbitrary: spoilt }, { weight: 1, arbitrary: random });
  }
  const values = decoder.samples.map((sample) => form.read(sample));
  const changes = fc.array(fc.tuple(fc.nat(0xffff), fc.nat(39)), { minLength: 1, maxLength: 2 });
  const altered = fc
    .tuple(fc.nat(values.length - 1), changes)
    .map(([one, all]) =>
      form.write(all.reduce((value, [place, change]) => alteredValue(value, place, change), values[one])),
    );
  return fc.oneof(
    { weight: 5, arbitrary: spoilt },
    { weight: 4, arbitrary: altered },
    { weight: 1, arbitrary: random },
  );
}

function edited(bytes: Uint8Array, donor: Uint8Array, [kind, place, value, length]: Edit): Uint8Array {
  const at = place % (bytes.length + 1);
  const head = bytes.subarray(0, at);
  const tail = bytes.subarray(at);
  const joined = (...parts: readonly Uint8Array[]) => new Uint8Array(Buffer.concat(parts));
  switch (kind) {
    case 0: // one byte is another
      return joined(head, Uint8Array.of(value), tail.subarray(1));
    case 1: // one bit is flipped
      return joined(head, Uint8Array.of((tail[0] ?? 0) ^ (1 << (value & 7))), tail.subarray(1));
    case 2: // cut off
      return head;
    case 3: // some bytes are lost
      return joined(head, tail.subarray(length));
    case 4: // some bytes come in between
      return joined(head, new Uint8Array(length).fill(value), tail);
    case 5: // a part comes twice
      return joined(head, tail.subarray(0, length), tail);
    case 6: // a part of another sample
      return joined(head, donor.subarray(place % (donor.length + 1)).subarray(0, length), tail);
    case 7: // a byte of those that have a meaning
      return joined(head, Uint8Array.of(notable[value % notable.length] ?? 0), tail.subarray(1));
    case 8: // a length in a longer form than need be: CompactSize, or CBOR
      return joined(
        head,
        value % 2 === 0 ? Uint8Array.of(0xfd, tail[0] ?? 0, 0) : Uint8Array.of(0x18, tail[0] ?? 0),
        tail.subarray(1),
      );
    default: // a long length
      return joined(head, new Uint8Array(4).fill(value), tail.subarray(4));
  }
}
