import type { PolicyCheck } from "@cairn/client";
import { CairnError, isCairnError } from "@cairn/core";
import type { Command } from "commander";
import { parseAmount } from "../amount.ts";
import type { CommandContext } from "../command-context.ts";
import { policyToJson } from "../policy-json.ts";
import { readRecipients } from "../recipients.ts";
import { examples } from "./examples.ts";
import { collect, hex32 } from "./option-values.ts";

interface CheckOptions {
  readonly to: readonly string[];
  readonly amount: readonly string[];
  readonly maxFee: string;
  readonly wallet?: string;
  readonly request?: string;
}

/** `cairn policy`. */
export function addPolicyCommands(program: Command, context: CommandContext): void {
  const policy = program.command("policy").description("spending policy: show, check");
  policy
    .command("show")
    .description("the policy in force, proven by the operators' signatures; --json prints what may be edited")
    .addHelpText("after", examples("cairn policy show", "cairn policy show --json > policy.json"))
    .action(async () => {
      const access = await context.access();
      const document = policyToJson((await access.constitution()).policy);
      const { output } = context;
      output.answer(document, () =>
        output.facts(
          Object.entries(document).map(([rule, value]) => [
            rule,
            value === null ? "off" : typeof value === "object" ? JSON.stringify(value) : String(value),
          ]),
        ),
      );
    });
  policy
    .command("check")
    .description(
      "what every node's policy would say of a payment, rule by rule; nothing is reserved or signed",
    )
    .requiredOption("--to <address>", "recipient; repeat for several", collect)
    .requiredOption("--amount <amount>", "150000 (satoshi), 0.0015 or 0.0015btc; one for each --to", collect)
    .option("--max-fee <amount>", "the most that miners may get", "50000")
    .option("--wallet <wallet>", "id, its first digits, or label; may be left out where there is only one")
    .option(
      "--request <request>",
      "hash of the request that this is about: approvals that are there for it count",
    )
    .addHelpText("after", examples("cairn policy check --to bc1q… --amount 0.5"))
    .action(async (options: CheckOptions) => check(context, options));
}

async function check(context: CommandContext, options: CheckOptions): Promise<void> {
  const access = await context.access();
  const { manifest } = await access.signedManifest();
  const outputs = readRecipients(options.to, options.amount, manifest.network);
  const { record } = await access.wallet(options.wallet);
  const body = {
    wallet: record.wallet,
    outputs: outputs.map(({ address, amountSats }) => ({ address, amountSats: amountSats.toString() })),
    maxFeeSats: parseAmount(options.maxFee).toString(),
    ...(options.request === undefined ? {} : { request: hex32(options.request, "the hash of a request") }),
  };
  const answers = await Promise.all(
    access.clients().map(async ({ endpoint, client }) => {
      try {
        return { endpoint, verdict: await client.call("checkPolicy", { body }), error: null };
      } catch (error) {
        if (!isCairnError(error)) throw error;
        return { endpoint, verdict: null, error };
      }
    }),
  );
  const verdicts = answers.flatMap(({ verdict }) => (verdict === null ? [] : [verdict]));
  const [failure] = answers.flatMap(({ error }) => (error === null ? [] : [error]));
  if (verdicts.length === 0 && failure !== undefined) throw failure;
  const { output } = context;
  output.answer(
    {
      nodes: answers.map(({ endpoint, verdict, error }) =>
        verdict === null ? { endpoint, error: error.code, detail: error.message } : { endpoint, ...verdict },
      ),
    },
    () => {
      output.table(
        ["node", "decision", "because"],
        answers.map(({ endpoint, verdict, error }) =>
          verdict === null
            ? [endpoint, "down", error.message]
            : [String(verdict.node), verdict.decision, because(verdict)],
        ),
      );
    },
  );
  const denied = verdicts.find(({ decision }) => decision === "deny");
  if (denied !== undefined) {
    throw new CairnError("policy-denied", `node ${denied.node} would refuse it: ${because(denied)}`, {
      node: denied.node,
    });
  }
}

/** The rules that decided. */
function because({ decision, rules }: PolicyCheck): string {
  return rules
    .filter((rule) => rule.decision === decision && decision !== "allow")
    .map(({ rule, explanation }) => `${rule}: ${explanation}`)
    .join("; ");
}
