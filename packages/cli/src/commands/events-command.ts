import { eventSchema } from "@cairn/client";
import { CairnError } from "@cairn/core";
import type { Command } from "commander";
import type { CommandContext } from "../command-context.ts";
import { examples } from "./examples.ts";
import { collectOneOf, wholeNumber } from "./option-values.ts";

const types = eventSchema.shape.type.options;

/** `cairn events`: what happens at a node, as it happens. */
export function addEventsCommand(program: Command, context: CommandContext): void {
  program
    .command("events")
    .description("what happens at the asked node, as it happens, until interrupted; JSON lines with --json")
    .option("--type <type>", `only this type; repeat for several: ${types.join(", ")}`, collectOneOf(types))
    .option("--count <number>", "end after so many events", wholeNumber(1, 1_000_000))
    .addHelpText("after", examples("cairn events", "cairn events --type transaction --json"))
    .action(async (options: { type?: readonly string[]; count?: number }) => {
      const access = await context.access();
      const { output, modules } = context;
      let seen = 0;
      try {
        for await (const event of access.client.events(modules.signal)) {
          if (options.type !== undefined && !options.type.includes(event.type)) continue;
          if (output.json) output.jsonLine(event);
          else {
            const data = Object.keys(event.data).length === 0 ? "" : ` ${JSON.stringify(event.data)}`;
            output.line(`${event.at} ${event.type} ${event.subject.slice(0, 16)} ${event.state}${data}`);
          }
          if (++seen === options.count) return;
        }
      } catch (cause) {
        if (modules.signal.aborted) return;
        if (cause instanceof CairnError) throw cause;
        throw new CairnError(
          "closed",
          "the stream of events broke off; the node may be restarting",
          {},
          { cause },
        );
      }
      if (!modules.signal.aborted) {
        throw new CairnError("closed", "the node ended the stream of events; it may be restarting");
      }
    });
}
