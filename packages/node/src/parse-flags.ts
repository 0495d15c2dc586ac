import { CairnError } from "@cairn/core";

/** What the daemon was started with. */
export interface Flags {
  /** Configuration file; `cairn.toml` where none is named. */
  readonly file: string;
  /** `section.key` to its text. */
  readonly settings: Readonly<Record<string, string>>;
  readonly help: boolean;
}

/**
 * Reads `--config FILE` and `--section.key value` (or `--section.key=value`).
 * @throws CairnError `config-invalid`
 */
export function parseFlags(words: readonly string[]): Flags {
  const settings: Record<string, string> = {};
  let file = "cairn.toml";
  let help = false;
  const rest = [...words];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === "--help" || word === "-h") {
      help = true;
      continue;
    }
    const [, name, inline] = /^--([a-z][a-z0-9_.]*)(?:=(.*))?$/s.exec(word) ?? [];
    if (name === undefined || (name !== "config" && !/^[a-z0-9_]+\.[a-z0-9_]+$/.test(name))) {
      throw new CairnError(
        "config-invalid",
        `${word} is no flag of the daemon; it takes --config FILE and --section.key VALUE`,
        { flag: word },
      );
    }
    const value = inline ?? rest.shift();
    if (value === undefined) {
      throw new CairnError("config-invalid", `--${name} lacks its value; write --${name} VALUE`, {
        flag: name,
      });
    }
    if (name === "config") file = value;
    else settings[name] = value;
  }
  return { file, settings, help };
}
