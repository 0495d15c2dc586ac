/** Another byte at `at` from the end. */
export function bent(bytes: Uint8Array, at = 1): Uint8Array {
  const copy = new Uint8Array(bytes);
  const place = Math.max(0, copy.length - at);
  if (copy.length > 0) copy[place] = (copy[place] ?? 0) ^ 1;
  return copy;
}
