import { CairnError, errorCodes } from "@cairn/core";
import { Command, CommanderError } from "commander";
import type { CliModules } from "./cli-modules.ts";
import { CommandContext } from "./command-context.ts";
import { addAuditCommands } from "./commands/audit-commands.ts";
import { addBackupCommands } from "./commands/backup-commands.ts";
import { addClusterCommands } from "./commands/cluster-commands.ts";
import { addConfigCommands } from "./commands/config-commands.ts";
import { addDbCommands } from "./commands/db-commands.ts";
import { addDkgCommands } from "./commands/dkg-commands.ts";
import { addEventsCommand } from "./commands/events-command.ts";
import { addEvidenceCommands } from "./commands/evidence-commands.ts";
import { examples } from "./commands/examples.ts";
import { addGrantCommands } from "./commands/grant-commands.ts";
import { addInitCommands } from "./commands/init-commands.ts";
import { addKeyCommands } from "./commands/key-commands.ts";
import { addNodeCommands } from "./commands/node-commands.ts";
import { collect } from "./commands/option-values.ts";
import { addPolicyCommands } from "./commands/policy-commands.ts";
import { addPresigCommands } from "./commands/presig-commands.ts";
import { addProposalCommands } from "./commands/proposal-commands.ts";
import { addSendCommand } from "./commands/send-command.ts";
import { addSessionCommands } from "./commands/session-commands.ts";
import { addTokenCommands } from "./commands/token-commands.ts";
import { addTxCommands } from "./commands/tx-commands.ts";
import { addWalletCommands } from "./commands/wallet-commands.ts";
import { DaemonExit } from "./daemon-exit.ts";
import { Output } from "./output.ts";

const exitHelp = `
Exit codes:
  0   done
  1   refused: policy, funds, state, or a node that is not to be believed
  2   the command, an address or an amount is wrong
  69  a part of the installation is missing
  70  a fault inside Cairn
  73  a file is in the way
  74  storage is full or broken
  75  not now: no node answers, no quorum, a limit; try again
  76  a peer or chain source speaks another language
  77  not allowed: token, signature or certificate
  78  a configuration or file is wrong
  130 interrupted
`;

const INTERRUPTED = 130;

/** The `cairn` command with all its subcommands. */
export function createProgram(modules: CliModules): Command {
  const program = new Command("cairn");
  program
    .description("Self-hosted threshold wallet for Bitcoin")
    .option("--config <file>", "configuration, in place of CAIRN_CONFIG and ~/.config/cairn/config.toml")
    .option("--endpoint <url>", "ask this node, in place of the configured ones; repeat for several", collect)
    .option(
      "--json",
      "answer in JSON: one document, or a line each for streams; failures as problem JSON on stderr",
    )
    .option("--no-color", "no colours; NO_COLOR does the same")
    .addHelpText(
      "after",
      examples(
        "cairn init --network regtest --chain http://127.0.0.1:3002",
        "cairn dkg start --protocol frost --wait",
        "cairn wallet address",
        "cairn send --to bc1q… --amount 0.0015 --wait",
        "cairn cluster status --json",
      ) + exitHelp,
    )
    .configureOutput({
      writeOut: (text) => modules.stdout.write(text),
      // Its errors are thrown as well, and reported like all others.
      outputError: () => {},
      // Help where a command is missing; programs get the problem document alone.
      writeErr: (text) => {
        if (program.opts().json !== true) modules.stderr.write(text);
      },
    })
    .exitOverride();
  const context = new CommandContext(program, modules);
  addInitCommands(program, context);
  addTokenCommands(program, context);
  addWalletCommands(program, context);
  addSendCommand(program, context);
  addTxCommands(program, context);
  addClusterCommands(program, context);
  addDkgCommands(program, context);
  addKeyCommands(program, context);
  addPresigCommands(program, context);
  addSessionCommands(program, context);
  addPolicyCommands(program, context);
  addProposalCommands(program, context);
  addAuditCommands(program, context);
  addEvidenceCommands(program, context);
  addGrantCommands(program, context);
  addEventsCommand(program, context);
  addNodeCommands(program, context);
  addBackupCommands(program, context);
  addDbCommands(program, context);
  addConfigCommands(program, context);
  return program;
}

/**
 * Runs one command.
 * @param words the command line without the names of interpreter and script
 * @returns the exit code: 0, that of the error's code, or 130 when interrupted
 */
export async function runCli(words: readonly string[], modules: CliModules): Promise<number> {
  try {
    await createProgram(modules).parseAsync([...words], { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof DaemonExit) return error.exitCode;
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    if (modules.signal.aborted) return INTERRUPTED;
    const failure = asFailure(error);
    const output = new Output(
      { json: words.includes("--json"), colour: !words.includes("--no-color") },
      modules,
    );
    output.failure(failure, `cairn ${words.find((word) => !word.startsWith("-")) ?? ""}`.trim());
    return errorCodes[failure.code].exit;
  }
}

function asFailure(error: unknown): CairnError {
  if (error instanceof CairnError) return error;
  if (error instanceof CommanderError) {
    const text = error.message.replace(/^error: /, "").replace(/^./, (first) => first.toLowerCase());
    const detail = error.code === "commander.help" ? "a command is missing" : text;
    return new CairnError(
      "malformed",
      `${detail}; \`cairn --help\` and \`cairn COMMAND --help\` explain the use`,
    );
  }
  const reason = error instanceof Error ? error.message : "unknown";
  return new CairnError("internal", `a fault inside this command: ${reason}`, {}, { cause: error });
}
