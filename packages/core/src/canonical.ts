import { createHash } from "node:crypto";
import * as dagCbor from "@ipld/dag-cbor";
import type { z } from "zod";
import { concatBytes, equalBytes, toHex } from "./bytes.ts";
import type { DomainTag } from "./domain.ts";
import { CairnError } from "./error.ts";
import { isPlainlyCanonical } from "./plainly-canonical.ts";

/** Largest structure that any decoder looks at; PSBTs with full previous transactions are the biggest honest ones. */
export const MAX_CANONICAL_BYTES = 4 * 1024 * 1024;

/** DAG-CBOR of `value`: map keys sorted, shortest integers, no floats where integers do, no undefined. */
export function encodeCanonical(value: unknown): Uint8Array {
  return dagCbor.encode(value);
}

/**
 * Decodes DAG-CBOR that must be in canonical form and of the shape `schema`.
 * @throws CairnError `too-large`, `malformed`, `not-canonical`
 */
export function decodeCanonical<Schema extends z.ZodType>(
  schema: Schema,
  bytes: Uint8Array,
): z.output<Schema> {
  if (bytes.length > MAX_CANONICAL_BYTES) {
    throw new CairnError("too-large", "the structure is larger than any that Cairn accepts", {
      bytes: bytes.length,
      limit: MAX_CANONICAL_BYTES,
    });
  }
  let raw: unknown;
  try {
    raw = dagCbor.decode(bytes);
  } catch (cause) {
    throw new CairnError("malformed", "the bytes are not DAG-CBOR", { bytes: bytes.length }, { cause });
  }
  if (!isPlainlyCanonical(bytes) && !equalBytes(dagCbor.encode(raw), bytes)) {
    throw new CairnError("not-canonical", "the bytes are not in canonical DAG-CBOR form", {
      bytes: bytes.length,
    });
  }
  refusePrototypeKeys(bytes, raw);
  return parseShape(schema, raw);
}

/** Shapes overlook a key of this name, so bytes that hold one would decode to the same value as bytes without it. */
const PROTOTYPE_KEY = "__proto__";

function refusePrototypeKeys(bytes: Uint8Array, raw: unknown): void {
  if (!Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(PROTOTYPE_KEY)) return;
  const waiting: unknown[] = [raw];
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    if (value === null || typeof value !== "object" || value instanceof Uint8Array) continue;
    if (Object.hasOwn(value, PROTOTYPE_KEY)) {
      throw new CairnError(
        "malformed",
        `the structure has a key named ${PROTOTYPE_KEY}, which no structure of Cairn has`,
      );
    }
    waiting.push(...Object.values(value).filter((child) => child !== undefined));
  }
}

/**
 * `value` as the shape `schema`.
 * @throws CairnError `malformed` that names the first field that does not fit
 */
export function parseShape<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = meant(parsed.error.issues[0], []);
  const words = issues.map(({ path, message }) => `${path.join(".") || "(whole)"}: ${message}`);
  throw new CairnError("malformed", `the structure does not fit: ${words.join("; or ")}`, {
    path: issues[0]?.path.join(".") ?? "",
  });
}

interface Misfit {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** The misfits to name: where one of several shapes was due, the first of the shape that fits best, or of each of those. */
function meant(issue: z.core.$ZodIssue | undefined, above: readonly PropertyKey[]): readonly Misfit[] {
  if (issue === undefined) return [];
  const path = [...above, ...issue.path];
  if (issue.code !== "invalid_union" || issue.errors.length === 0) return [{ path, message: issue.message }];
  const least = Math.min(...issue.errors.map((branch) => branch.length));
  return issue.errors.filter((branch) => branch.length === least).flatMap(([first]) => meant(first, path));
}

/** What {@link encodeCanonical} made of something, to be put into a larger structure or signed without being encoded again. */
export class Encoded {
  readonly bytes: Uint8Array;

  private constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  static of(value: unknown): Encoded {
    return new Encoded(encodeCanonical(value));
  }

  /** A map whose values were encoded before: the same bytes as of the map of the values themselves. At most 23 fields. */
  static map(fields: Readonly<Record<string, Encoded>>): Encoded {
    const entries = Object.entries(fields).map(([key, { bytes }]) => [encodedKey(key), bytes] as const);
    // A key's encoding begins with its length, so this order is DAG-CBOR's: shorter keys first.
    entries.sort(([a], [b]) => Buffer.compare(a, b));
    if (entries.length > 23) throw new RangeError("a map of what was encoded before has at most 23 fields");
    return new Encoded(concatBytes(Uint8Array.of(0xa0 | entries.length), ...entries.flat()));
  }
}

const encodedKeys = new Map<string, Uint8Array>();

/** Only field names that the program itself writes come here, so they are few. */
function encodedKey(key: string): Uint8Array {
  const known = encodedKeys.get(key) ?? encodeCanonical(key);
  encodedKeys.set(key, known);
  return known;
}

/** The bytes that are hashed or signed for `body` under `domain`: tag ‖ 0x00 ‖ DAG-CBOR(body). */
export function domainBytes(domain: DomainTag, body: unknown): Uint8Array {
  const bytes = body instanceof Encoded ? body.bytes : encodeCanonical(body);
  return concatBytes(Buffer.from(domain, "utf8"), Uint8Array.of(0), bytes);
}

/** SHA-256 of {@link domainBytes}, in hex. */
export function domainHash(domain: DomainTag, body: unknown): string {
  return createHash("sha256").update(domainBytes(domain, body)).digest("hex");
}

/** SHA-256, in hex. */
export function sha256Hex(bytes: Uint8Array): string {
  return toHex(createHash("sha256").update(bytes).digest());
}
