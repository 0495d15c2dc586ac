/** Reads one field of a value of unknown shape; `undefined` where there is none. */
export function field(value: unknown, ...path: string[]): unknown {
  let current = value;
  for (const name of path) {
    if (typeof current !== "object" || current === null) return undefined;
    current = new Map(Object.entries(current)).get(name);
  }
  return current;
}

/** As {@link field}, but only a string counts. */
export function textField(value: unknown, ...path: string[]): string | undefined {
  const found = field(value, ...path);
  return typeof found === "string" ? found : undefined;
}

/** The name-value pairs of an object field; none where the field is not an object. */
export function entriesField(value: unknown, ...path: string[]): [string, unknown][] {
  const found = field(value, ...path);
  return typeof found === "object" && found !== null ? Object.entries(found) : [];
}
