import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CairnError } from "@cairn/core";
import type { Command } from "commander";
import type { CommandContext } from "../command-context.ts";
import { DaemonExit } from "../daemon-exit.ts";
import { raiseEpoch } from "../raise-epoch.ts";
import { examples } from "./examples.ts";

/** The daemon beside this package. It is started by name: this command shares no code with it. */
const DAEMON = fileURLToPath(new URL("../../../node/src/main.ts", import.meta.url));

/** `cairn node`: the daemon. */
export function addNodeCommands(program: Command, context: CommandContext): void {
  const node = program.command("node").description("the node daemon: start, raise-epoch");
  node
    .command("start")
    .argument("[settings...]", "settings of the daemon, after --: --section.key VALUE")
    .description("run a node in the foreground with the cairn.toml that --config names")
    .addHelpText(
      "after",
      examples(
        "cairn node start --config ./cluster/node-1/cairn.toml",
        "cairn node start --config cairn.toml -- --log.level debug",
      ),
    )
    .action(async (settings: readonly string[]) => {
      const file = configOf(context);
      if (!existsSync(DAEMON)) {
        throw new CairnError("file-missing", "the daemon is not installed beside this command", {
          path: DAEMON,
        });
      }
      const code = await context.modules.runDaemon(DAEMON, ["--config", file, ...settings]);
      if (code !== 0) throw new DaemonExit(code);
    });
  node
    .command("raise-epoch")
    .description("after a restore: raise this node's epoch, so that its peers take it as it is now")
    .addHelpText("after", examples("cairn node raise-epoch --config ./cluster/node-1/cairn.toml"))
    .action(async () => {
      const raised = await raiseEpoch(configOf(context));
      context.output.answer(raised, () => {
        context.output.line(`The epoch is ${raised.to}; it was ${raised.from}. Start the node.`);
      });
    });
}

function configOf({ configFlag }: CommandContext): string {
  if (configFlag !== undefined) return configFlag;
  throw new CairnError("malformed", "name the node's configuration with --config FILE");
}
