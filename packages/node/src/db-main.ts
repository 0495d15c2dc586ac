import { parseArgs } from "node:util";
import { CairnError, errorCodes, isCairnError, systemClock } from "@cairn/core";
import { DatabaseMover } from "./database-mover.ts";
import { loadConfig } from "./load-config.ts";

/** `node packages/node/src/db-main.ts status|migrate|export|import --config FILE [--to URL] [--to-password-file FILE] [--file FILE] [--json]` */
async function main(words: readonly string[]): Promise<void> {
  process.umask(0o077);
  const { values, positionals } = parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      config: { type: "string" },
      to: { type: "string" },
      "to-password-file": { type: "string" },
      file: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const needed = (name: "config" | "to" | "file"): string => {
    const value = values[name];
    if (value === undefined) throw new CairnError("malformed", `--${name} is missing`);
    return value;
  };
  const loaded = await loadConfig({ file: needed("config"), environment: process.env, flags: {} });
  const mover = await DatabaseMover.create(loaded, { clock: systemClock });
  const facts = await (() => {
    switch (positionals[0]) {
      case "status":
        return mover.status();
      case "migrate":
        return mover.migrate(needed("to"), values["to-password-file"] ?? null);
      case "export":
        return mover.exportTo(needed("file"));
      case "import":
        return mover.importFrom(needed("file"));
      default:
        throw new CairnError("malformed", "say status, migrate, export or import");
    }
  })();
  if (positionals[0] === "migrate") {
    process.stderr.write(
      "Now set storage.url to the new database; the node no longer starts on the old one.\n",
    );
  }
  if (values.json) process.stdout.write(`${JSON.stringify(facts)}\n`);
  else for (const [name, value] of lines(facts)) process.stdout.write(`${name.padEnd(16)} ${value}\n`);
}

/** Flat: counts of tables stand below their name. */
function* lines(facts: object): Generator<readonly [string, string]> {
  for (const [name, value] of Object.entries(facts)) {
    if (typeof value !== "object" || value === null) yield [name, String(value)];
    else for (const [inner, count] of Object.entries(value)) yield [`  ${inner}`, String(count)];
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = errorCodes[isCairnError(error) ? error.code : "internal"].exit;
}
