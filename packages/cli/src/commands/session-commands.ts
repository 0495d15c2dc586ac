import { type Command, Option } from "commander";
import type { CommandContext } from "../command-context.ts";
import { examples } from "./examples.ts";
import { hex32, PERIOD_HELP, type Period, periodQuery, SINCE, UNTIL, wholeNumber } from "./option-values.ts";

const purposes = ["sign", "presign", "keygen", "refresh"] as const;

interface ListOptions extends Period {
  readonly subject?: string;
  readonly live?: true;
  readonly purpose?: (typeof purposes)[number];
  readonly limit: number;
  readonly cursor?: string;
}

/** `cairn session`: runs of the threshold protocols. */
export function addSessionCommands(program: Command, context: CommandContext): void {
  const session = program.command("session").description("protocol sessions: list, show");

  session
    .command("list")
    .description("sessions that the asked node took part in, newest first")
    .option("--subject <id>", "only of this grant, presign job or keygen request")
    .option("--live", "only those under way")
    .addOption(new Option("--purpose <purpose>", "only of this kind").choices(purposes))
    .option(SINCE, `begun at this time or later: ${PERIOD_HELP}`)
    .option(UNTIL, "begun before this time")
    .option("--limit <number>", "how many, at most 200", wholeNumber(1, 200), 20)
    .option("--cursor <cursor>", "go on where an earlier page ended")
    .addHelpText(
      "after",
      examples("cairn session list --live", "cairn session list --purpose presign --since 1h"),
    )
    .action(async (options: ListOptions) => {
      const period = periodQuery(options, context.modules.clock.now());
      const access = await context.access();
      const list = await access.client.call("listSessions", {
        query: {
          limit: options.limit,
          ...(options.subject === undefined ? {} : { subject: options.subject }),
          ...(options.live === undefined ? {} : { live: "true" }),
          ...(options.purpose === undefined ? {} : { purpose: options.purpose }),
          ...period,
          ...(options.cursor === undefined ? {} : { cursor: options.cursor }),
        },
      });
      const { output } = context;
      output.answer(list, () => {
        if (list.sessions.length === 0) output.line("No sessions.");
        else
          output.table(
            ["session", "purpose", "attempt", "initiator", "signers", "state", "failure", "started"],
            list.sessions.map((item) => [
              item.session,
              item.purpose,
              String(item.attempt),
              String(item.initiator),
              item.signers.join(","),
              item.state,
              item.failure ?? "",
              item.startedAt,
            ]),
          );
        if (list.next !== null) output.note(`\nMore: cairn session list --cursor ${list.next}`);
      });
    });

  session
    .command("show")
    .argument("<session>", "id of a session")
    .description("one session")
    .addHelpText("after", examples("cairn session show SESSION"))
    .action(async (text: string) => {
      const id = hex32(text, "the id of a session");
      const access = await context.access();
      const item = await access.client.call("getSession", { params: { session: id } });
      const { output } = context;
      output.answer(item, () =>
        output.facts([
          ["session", item.session],
          ["purpose", item.purpose],
          ["subject", item.subject],
          ["attempt", String(item.attempt)],
          ["initiator", String(item.initiator)],
          ["signers", item.signers.join(", ")],
          ["state", item.state],
          ["failure", item.failure ?? "none"],
          ["started", item.startedAt],
          ["ended", item.endedAt ?? "not yet"],
        ]),
      );
    });
}
