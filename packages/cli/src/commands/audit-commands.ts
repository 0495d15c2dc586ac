import type { Command } from "commander";
import type { CommandContext } from "../command-context.ts";
import { examples } from "./examples.ts";
import { wholeNumber } from "./option-values.ts";

/** `cairn audit`. */
export function addAuditCommands(program: Command, context: CommandContext): void {
  const audit = program.command("audit").description("a node's audit log: list");
  audit
    .command("list")
    .description("entries of the asked node's audit log, oldest first")
    .option("--from <number>", "sequence number to begin with", wholeNumber(0, Number.MAX_SAFE_INTEGER), 0)
    .option("--kind <kind>", "only of this kind, e.g. vote-cast")
    .option("--limit <number>", "how many, at most 200", wholeNumber(1, 200), 50)
    .addHelpText("after", examples("cairn audit list", "cairn audit list --from 200 --json"))
    .action(async (options: { from: number; kind?: string; limit: number }) => {
      const access = await context.access();
      const page = await access.client.call("listAudit", {
        query: {
          from: options.from,
          limit: options.limit,
          ...(options.kind === undefined ? {} : { kind: options.kind }),
        },
      });
      const { output } = context;
      output.answer(page, () => {
        if (page.entries.length === 0) output.line("No entries.");
        else
          output.table(
            ["seq", "at", "kind", "subject", "data"],
            page.entries.map((entry) => [
              String(entry.seq),
              entry.at,
              entry.kind,
              entry.subject.slice(0, 16),
              JSON.stringify(entry.data),
            ]),
          );
        if (page.next !== null) output.note(`\nMore: cairn audit list --from ${page.next}`);
      });
    });
}
