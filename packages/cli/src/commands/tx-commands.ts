import { transactionStates } from "@cairn/core";
import type { Command } from "commander";
import { btcText } from "../amount.ts";
import type { CommandContext } from "../command-context.ts";
import { parseDuration } from "../duration.ts";
import { addApproveCommand } from "./approve-command.ts";
import { examples } from "./examples.ts";
import { addTxGrantCommand } from "./grant-commands.ts";
import {
  collectOneOf,
  hex32,
  PERIOD_HELP,
  type Period,
  periodQuery,
  SINCE,
  UNTIL,
  wholeNumber,
} from "./option-values.ts";
import { outcomeOf, printTransaction } from "./transaction-text.ts";
import { transactionFailure, watchTransaction } from "./watch-transaction.ts";

/** `cairn tx`: how spends are doing, and people's approvals of them. */
export function addTxCommands(program: Command, context: CommandContext): void {
  const tx = program.command("tx").description("transactions: status, list, approve, grant");

  tx.command("status")
    .argument("<txid>", "transaction id")
    .description("one transaction with its approvals, votes and signers")
    .option("--refresh", "have the node look at its chain source now, and not tell what it saw last")
    .option("--watch", "follow it until it is confirmed or has ended")
    .option("--timeout <time>", "give up watching after this time")
    .addHelpText(
      "after",
      examples(
        "cairn tx status TXID",
        "cairn tx status TXID --refresh",
        "cairn tx status TXID --watch --timeout 30m",
      ),
    )
    .action(async (text: string, options: { refresh?: true; watch?: true; timeout?: string }) => {
      const txid = hex32(text, "a transaction id");
      const timeoutMs = options.timeout === undefined ? null : parseDuration(options.timeout);
      const access = await context.access();
      const { output } = context;
      if (options.watch !== true) {
        const call = options.refresh === true ? "refreshTransaction" : "getTransaction";
        const detail = await access.client.call(call, { params: { txid } });
        output.answer(detail, () => printTransaction(output, detail));
        return;
      }
      const detail = await watchTransaction(context, access, {
        txid,
        until: "confirmed",
        timeoutMs,
        check: () => {},
      });
      if (outcomeOf(detail) === "ended") throw transactionFailure(detail);
      output.answer(detail, () => printTransaction(output, detail));
    });

  addApproveCommand(tx, context);
  addTxGrantCommand(tx, context);

  tx.command("list")
    .description("transactions, newest first")
    .option("--wallet <wallet>", "id, its first digits, or label")
    .option(
      "--state <state>",
      `only in this state; repeat for several: ${transactionStates.join(", ")}`,
      collectOneOf(transactionStates),
    )
    .option("--to <address>", "only those that pay this address")
    .option(SINCE, `asked for at this time or later: ${PERIOD_HELP}`)
    .option(UNTIL, "asked for before this time")
    .option("--limit <number>", "how many, at most 200", wholeNumber(1, 200), 20)
    .option("--cursor <cursor>", "go on where an earlier page ended")
    .addHelpText(
      "after",
      examples(
        "cairn tx list",
        "cairn tx list --state voting --state signing --limit 50",
        "cairn tx list --to bc1q… --since 30d",
      ),
    )
    .action(
      async (
        options: Period & {
          wallet?: string;
          state?: readonly string[];
          to?: string;
          limit: number;
          cursor?: string;
        },
      ) => {
        const period = periodQuery(options, context.modules.clock.now());
        const access = await context.access();
        const wallet =
          options.wallet === undefined ? undefined : (await access.wallet(options.wallet)).record.wallet;
        const page = await access.client.call("listTransactions", {
          query: {
            limit: options.limit,
            ...(wallet === undefined ? {} : { wallet }),
            ...(options.state === undefined ? {} : { state: options.state.join(",") }),
            ...(options.to === undefined ? {} : { recipient: options.to }),
            ...period,
            ...(options.cursor === undefined ? {} : { cursor: options.cursor }),
          },
        });
        const { output } = context;
        output.answer(page, () => {
          if (page.transactions.length === 0) output.line("No transactions.");
          else {
            output.table(
              ["created", "transaction", "state", "amount", "to", "confirmations"],
              page.transactions.map((transaction) => [
                transaction.createdAt.slice(0, 19).replace("T", " "),
                transaction.txid,
                transaction.state,
                btcText(BigInt(transaction.amountSats)),
                `${transaction.outputs[0]?.address ?? ""}${transaction.outputs.length > 1 ? ` +${transaction.outputs.length - 1}` : ""}`,
                String(transaction.confirmations),
              ]),
            );
          }
          if (page.next !== null) output.note(`\nMore: cairn tx list --cursor ${page.next}`);
        });
      },
    );
}
