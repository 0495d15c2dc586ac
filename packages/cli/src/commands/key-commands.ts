import type { Command } from "commander";
import type { CommandContext } from "../command-context.ts";
import { examples } from "./examples.ts";
import { printKeys } from "./key-text.ts";

/** `cairn key`. */
export function addKeyCommands(program: Command, context: CommandContext): void {
  const key = program.command("key").description("keys: list");
  key
    .command("list")
    .description("keys and how far their generation is")
    .addHelpText("after", examples("cairn key list", "cairn key list --json"))
    .action(async () => {
      const access = await context.access();
      const list = await access.client.call("listKeys", {});
      const { output } = context;
      output.answer(list, () => printKeys(output, list.keys));
    });
}
