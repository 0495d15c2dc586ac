/** Copies of `value` that differ from it in one leaf each, with the path of the leaf: for tests that nothing signed can be altered. */
export function alterations<Value>(value: Value): { readonly path: string; readonly altered: Value }[] {
  return leaves(value, "").map(({ path, altered }) => ({ path, altered: altered as Value }));
}

function leaves(value: unknown, path: string): { path: string; altered: unknown }[] {
  if (value instanceof Uint8Array) {
    const altered = Uint8Array.from(value);
    altered[0] = (altered[0] ?? 0) ^ 1;
    return [{ path, altered }];
  }
  if (Array.isArray(value)) {
    const shorter = value.length === 0 ? [] : [{ path: `${path}.length`, altered: value.slice(0, -1) }];
    return [
      ...value.flatMap((item: unknown, at) =>
        leaves(item, `${path}[${at}]`).map((leaf) => ({ ...leaf, altered: value.with(at, leaf.altered) })),
      ),
      ...shorter,
    ];
  }
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).flatMap(([key, field]) =>
      leaves(field, path === "" ? key : `${path}.${key}`).map((leaf) => ({
        ...leaf,
        altered: { ...value, [key]: leaf.altered },
      })),
    );
  }
  return [{ path, altered: otherThan(value) }];
}

function otherThan(leaf: unknown): unknown {
  switch (typeof leaf) {
    case "string":
      return leaf.endsWith("0") ? `${leaf.slice(0, -1)}1` : `${leaf.slice(0, -1)}0`;
    case "number":
      return leaf + 1;
    case "bigint":
      return leaf + 1n;
    case "boolean":
      return !leaf;
    default:
      return 1;
  }
}
