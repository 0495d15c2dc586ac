import { z } from "zod";

/** Bytes of at most `limit`, whatever buffer is behind them. */
export function byteArraySchema(limit: number) {
  return z
    .custom<Uint8Array>((value) => value instanceof Uint8Array, "expected bytes")
    .refine((bytes) => bytes.length <= limit, `expected at most ${limit} bytes`);
}
