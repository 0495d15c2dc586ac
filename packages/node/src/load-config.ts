import { dirname, resolve } from "node:path";
import { CairnError, type NodeConfig, nodeConfigSchema, parseStorageUrl } from "@cairn/core";
import { parse as parseToml, TomlError } from "smol-toml";
import { z } from "zod";
import { type ConfigKey, describeConfig } from "./describe-config.ts";
import { readGuardedFile } from "./read-guarded-file.ts";

/** Where settings come from, in rising order: the schema's defaults, the file, the environment, flags. */
export interface ConfigSources {
  readonly file: string;
  /** `CAIRN_SECTION__KEY` variables are read; others that begin with `CAIRN_` are none of the daemon's. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** `section.key` to its text. */
  readonly flags: Readonly<Record<string, string>>;
}

export interface LoadedConfig {
  readonly config: NodeConfig;
  /** Absolute path of the folder that holds the file: what names of files are relative to. */
  readonly folder: string;
}

/** Sections before validation. */
const rawConfigSchema = z.record(z.string(), z.record(z.string(), z.unknown()));
type RawConfig = z.output<typeof rawConfigSchema>;

/**
 * Reads and validates a node's configuration.
 * @throws CairnError `file-missing`, `file-mode` when others may write to it; `config-invalid`, whose message names every key that is wrong, where its value came from,
 *   and what it should be
 */
export async function loadConfig(sources: ConfigSources): Promise<LoadedConfig> {
  const file = resolve(sources.file);
  const keys = new Map(describeConfig().map((key) => [key.name, key]));
  const raw = await readToml(file);
  const origins = new Map<string, string>();
  const set = (name: string, text: string, origin: string) => {
    const key = keys.get(name);
    if (key === undefined) throw unknownKey(name, origin, keys);
    const { section } = key;
    raw[section] = { ...raw[section], [key.key]: readValue(key, text, origin) };
    origins.set(name, origin);
  };
  for (const [variable, text] of Object.entries(sources.environment).sort()) {
    const [, section, key] = /^CAIRN_([A-Z0-9]+)__([A-Z0-9_]+)$/.exec(variable) ?? [];
    if (section === undefined || key === undefined || text === undefined) continue;
    set(`${section}.${key}`.toLowerCase(), text, variable);
  }
  for (const [name, text] of Object.entries(sources.flags)) set(name, text, `--${name}`);

  for (const { section } of keys.values()) raw[section] ??= {};
  const parsed = nodeConfigSchema.safeParse(raw);
  if (!parsed.success) throw invalid(parsed.error.issues, { raw, keys, origins, file });
  checkTogether(parsed.data);
  return { config: parsed.data, folder: dirname(file) };
}

async function readToml(file: string): Promise<RawConfig> {
  const text = (await readGuardedFile(file, "name another configuration with --config FILE")).toString(
    "utf8",
  );
  let raw: unknown;
  try {
    raw = parseToml(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    const reason = cause.message.split("\n")[0] ?? "";
    throw new CairnError(
      "config-invalid",
      `${file} is not valid TOML: line ${cause.line}, column ${cause.column}: ${reason}`,
      { file, line: cause.line, column: cause.column },
    );
  }
  const sections = rawConfigSchema.safeParse(raw);
  if (sections.success) return sections.data;
  const at = sections.error.issues[0]?.path.join(".") ?? "";
  throw new CairnError(
    "config-invalid",
    `${at} in ${file} stands outside of a section; write it below a [section] line`,
    { key: at, file },
  );
}

function readValue(key: ConfigKey, text: string, origin: string): unknown {
  if (key.nullable && text === "null") return null;
  switch (key.form) {
    case "text":
      return text;
    case "number":
      return /^-?[0-9]+$/.test(text) ? Number(text) : text;
    case "boolean":
      return text === "true" ? true : text === "false" ? false : text;
    case "text-list":
      if (!text.trimStart().startsWith("[")) {
        return text
          .split(",")
          .map((part) => part.trim())
          .filter((part) => part !== "");
      }
      break;
    case "json":
      break;
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CairnError(
      "config-invalid",
      `${key.name}: ${origin} is not JSON; write the list as JSON, e.g. '["a", "b"]'`,
      { key: key.name, origin },
      { cause },
    );
  }
}

function unknownKey(name: string, origin: string, keys: ReadonlyMap<string, ConfigKey>): CairnError {
  const section = name.split(".")[0];
  const near = [...keys.values()].filter((key) => key.section === section).map((key) => key.name);
  const known = near.length > 0 ? near : [...new Set([...keys.values()].map((key) => `${key.section}.…`))];
  return new CairnError(
    "config-invalid",
    `${name}: there is no such key (from ${origin}); known are ${known.join(", ")}`,
    { key: name, origin },
  );
}

function invalid(
  issues: readonly z.core.$ZodIssue[],
  facts: {
    readonly raw: RawConfig;
    readonly keys: ReadonlyMap<string, ConfigKey>;
    readonly origins: ReadonlyMap<string, string>;
    readonly file: string;
  },
): CairnError {
  const { raw, keys, origins, file } = facts;
  const lines = issues.map((issue) => {
    const name = issue.path.slice(0, 2).join(".");
    const origin = origins.get(name) ?? file;
    if (issue.code === "unrecognized_keys") {
      return issue.keys
        .map((key) => unknownKey([...issue.path, key].join("."), origin, keys).message)
        .join("\n");
    }
    const key = keys.get(name);
    const missing = key !== undefined && raw[key.section]?.[key.key] === undefined;
    const what = missing ? "is not set" : lowerFirst(issue.message);
    const mend =
      key === undefined
        ? ""
        : `; ${name} is: ${key.description} (${key.type}). Set it in ${file} or with ${key.variable}`;
    return `${issue.path.join(".")}: ${what} (from ${origin})${mend}`;
  });
  const first = issues[0];
  return new CairnError("config-invalid", lines.join("\n"), {
    key: first === undefined ? "" : first.path.join("."),
  });
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/** What no key shows alone. */
function checkTogether(config: NodeConfig): void {
  const refuse = (key: string, message: string) => {
    throw new CairnError("config-invalid", `${key}: ${message}`, { key });
  };
  const { api, presignatures, signing, storage } = config;
  if ((api.tls_certificate === null) !== (api.tls_key === null)) {
    refuse("api.tls_key", "TLS needs both api.tls_certificate and api.tls_key; set both or neither");
  }
  if (presignatures.refill_below > presignatures.target) {
    refuse(
      "presignatures.refill_below",
      "is above presignatures.target, so that refilling would never end; lower it or raise the target",
    );
  }
  if (signing.session_ms < signing.ack_ms) {
    refuse(
      "signing.session_ms",
      "is shorter than signing.ack_ms, so that no session could end well; raise it",
    );
  }
  parseStorageUrl(storage.url);
  if (new Set(api.tokens.map(({ name }) => name)).size !== api.tokens.length) {
    refuse("api.tokens", "two tokens share one name; the log tells tokens apart by name");
  }
  if (new Set(api.tokens.map(({ hash }) => hash)).size !== api.tokens.length) {
    refuse("api.tokens", "one token is listed twice; leave the entry with the role that it should have");
  }
}
