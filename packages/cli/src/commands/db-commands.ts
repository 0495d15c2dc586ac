import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CairnError } from "@cairn/core";
import type { Command } from "commander";
import type { CommandContext } from "../command-context.ts";
import { DaemonExit } from "../daemon-exit.ts";
import { examples } from "./examples.ts";

/** The program beside this package that reads and writes databases. It is started by name: this command shares no code with it. */
const PROGRAM = fileURLToPath(new URL("../../../node/src/db-main.ts", import.meta.url));

/** `cairn db`: a stopped node's database. */
export function addDbCommands(program: Command, context: CommandContext): void {
  const db = program
    .command("db")
    .description("the database of a node that is stopped: status, migrate, export, import");
  const run = async (command: string, ...words: readonly string[]): Promise<void> => {
    const file = context.configFlag;
    if (file === undefined) {
      throw new CairnError("malformed", "name the node's configuration with --config FILE");
    }
    if (!existsSync(PROGRAM)) {
      throw new CairnError("file-missing", "the node is not installed beside this command", {
        path: PROGRAM,
      });
    }
    const json = context.output.json ? ["--json"] : [];
    const code = await context.modules.runDaemon(PROGRAM, [command, "--config", file, ...words, ...json]);
    if (code !== 0) throw new DaemonExit(code);
  };
  db.command("status")
    .description("count its rows and verify its audit log; brings its schema up to this release")
    .addHelpText("after", examples("cairn db status --config cairn.toml"))
    .action(() => run("status"));
  db.command("migrate")
    .requiredOption("--to <url>", "empty database, as storage.url names it")
    .option(
      "--password-file <file>",
      "of the target's user, mode 0600; storage.password_file where it is left out",
    )
    .description(
      "move the node between sqlite and Postgres: copies and verifies everything, and ends the old database",
    )
    .addHelpText(
      "after",
      examples(
        "cairn db migrate --config cairn.toml --to 'postgres://cairn@db.example/node1?sslrootcert=db-ca.pem' --password-file db-password",
        "cairn db migrate --config cairn.toml --to sqlite:cairn.db",
      ),
    )
    .action(({ to, passwordFile }: { readonly to: string; readonly passwordFile?: string }) =>
      run("migrate", "--to", to, ...(passwordFile === undefined ? [] : ["--to-password-file", passwordFile])),
    );
  db.command("export")
    .requiredOption("--out <file>", "file to make")
    .description(
      "write the whole database into a file, and end the database: the file is the node from then on",
    )
    .addHelpText("after", examples("cairn db export --config cairn.toml --out node-1.export"))
    .action(({ out }: { readonly out: string }) => run("export", "--file", out));
  db.command("import")
    .requiredOption("--in <file>", "what `cairn db export` has written")
    .description("read an export into the configured database, which must be empty")
    .addHelpText("after", examples("cairn db import --config cairn.toml --in node-1.export"))
    .action((options: { readonly in: string }) => run("import", "--file", options.in));
}
