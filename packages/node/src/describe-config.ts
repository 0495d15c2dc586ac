import { nodeConfigSchema } from "@cairn/core";
import { z } from "zod";

/** One key of `cairn.toml`, as its schema describes it. */
export interface ConfigKey {
  readonly section: string;
  readonly key: string;
  /** `section.key`: the flag without its dashes, and the name in errors. */
  readonly name: string;
  /** Environment variable that overrides it. */
  readonly variable: string;
  /** For people: `integer`, `"file" | "passphrase"`, `list of string`, … */
  readonly type: string;
  /** How text from the environment and from flags is read. */
  readonly form: "text" | "number" | "boolean" | "text-list" | "json";
  readonly nullable: boolean;
  /** Undefined for a key that must be set. */
  readonly default: unknown;
  readonly description: string;
}

/** What Cairn reads of the JSON Schema that zod makes of the configuration's. */
const propertySchema = z.looseObject({
  type: z.string().optional(),
  description: z.string().optional(),
  default: z.unknown().optional(),
  enum: z.array(z.string()).optional(),
  items: z.looseObject({ type: z.string().optional() }).optional(),
  anyOf: z.array(z.looseObject({ type: z.string().optional() })).optional(),
});
type Property = z.output<typeof propertySchema>;

const documentSchema = z.looseObject({
  properties: z.record(z.string(), z.looseObject({ properties: z.record(z.string(), propertySchema) })),
});

/** Every key of a node's configuration with type, default and description, in the order of the schema. */
export function describeConfig(): readonly ConfigKey[] {
  const document = documentSchema.parse(z.toJSONSchema(nodeConfigSchema, { io: "input" }));
  return Object.entries(document.properties).flatMap(([section, { properties }]) =>
    Object.entries(properties).map(([key, property]) => describeKey(section, key, property)),
  );
}

function describeKey(section: string, key: string, property: Property): ConfigKey {
  const nullable = property.anyOf?.some(({ type }) => type === "null") ?? false;
  const type = property.type ?? property.anyOf?.find((entry) => entry.type !== "null")?.type ?? "string";
  const shown =
    property.enum !== undefined
      ? property.enum.map((value) => JSON.stringify(value)).join(" | ")
      : type === "array"
        ? `list of ${property.items?.type ?? "string"}`
        : type;
  return {
    section,
    key,
    name: `${section}.${key}`,
    variable: `CAIRN_${section.toUpperCase()}__${key.toUpperCase()}`,
    type: nullable ? `${shown} | null` : shown,
    form: formOf(type, property.items?.type),
    nullable,
    default: property.default,
    description: property.description ?? "",
  };
}

function formOf(type: string, items: string | undefined): ConfigKey["form"] {
  switch (type) {
    case "integer":
    case "number":
      return "number";
    case "boolean":
      return "boolean";
    case "array":
      return items === "string" ? "text-list" : "json";
    case "object":
      return "json";
    default:
      return "text";
  }
}
