import { CairnError, nodeConfigSchema } from "@cairn/core";
import { stringify } from "smol-toml";
import type { z } from "zod";

type Input = z.input<typeof nodeConfigSchema>;

/** Sections of a node's `cairn.toml`, each with any of its keys. What is left out has the schema's default. */
export type NodeSettings = { readonly [Section in keyof Input]?: Partial<NonNullable<Input[Section]>> };

/** `layers` in rising order of precedence, merged key by key. */
export function mergeSettings(...layers: readonly NodeSettings[]): NodeSettings {
  const merged: Record<string, Record<string, unknown>> = {};
  for (const layer of layers) {
    for (const [section, keys] of Object.entries(layer)) merged[section] = { ...merged[section], ...keys };
  }
  return merged;
}

/**
 * The text of a node's `cairn.toml`, which the daemon's own schema has accepted.
 * @throws CairnError `config-invalid` that names the key that does not fit
 */
export function nodeConfigText(settings: NodeSettings): string {
  const parsed = nodeConfigSchema.safeParse(settings);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const key = issue?.path.join(".") ?? "";
    throw new CairnError("config-invalid", `the setting ${key} does not fit: ${issue?.message}`, { key });
  }
  return stringify(withoutNulls(settings));
}

/** TOML has no null: a key that is null is left out, and so has its default. */
function withoutNulls(settings: NodeSettings): Record<string, Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(settings).map(([section, keys]) => [
      section,
      Object.fromEntries(
        Object.entries(keys ?? {}).filter(([, value]) => value !== null && value !== undefined),
      ),
    ]),
  );
}
