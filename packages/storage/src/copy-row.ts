/**
 * A deep copy of plain data: objects, arrays, bytes and primitives. Bytes come out as their own `Uint8Array`, whatever larger
 * buffer they were a view of, so that neither side sees later changes of the other.
 */
export function copyRow<T>(value: T): T;
export function copyRow(value: unknown): unknown {
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  if (Array.isArray(value)) return value.map((item) => copyRow(item));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, copyRow(item)]));
  }
  return value;
}
