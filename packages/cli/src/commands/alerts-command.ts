import type { AlertView } from "@cairn/client";
import { type CairnError, isCairnError } from "@cairn/core";
import type { Command } from "commander";
import type { CommandContext } from "../command-context.ts";
import { examples } from "./examples.ts";

type Answer =
  | { readonly endpoint: string; readonly alerts: readonly AlertView[]; readonly error: null }
  | { readonly endpoint: string; readonly alerts: null; readonly error: CairnError };

/** `cairn cluster alerts`. */
export function addAlertsCommand(cluster: Command, context: CommandContext): void {
  cluster
    .command("alerts")
    .description(
      "asks every configured node what needs an operator's attention now, since when, and what to do",
    )
    .addHelpText("after", examples("cairn cluster alerts", "cairn cluster alerts --json"))
    .action(async () => {
      const access = await context.access();
      const answers = await Promise.all(
        access.clients().map(async ({ endpoint, client }): Promise<Answer> => {
          try {
            return { endpoint, alerts: (await client.call("listAlerts", {})).alerts, error: null };
          } catch (error) {
            if (!isCairnError(error)) throw error;
            return { endpoint, alerts: null, error };
          }
        }),
      );
      const [first] = answers.flatMap(({ error }) => (error === null ? [] : [error]));
      if (answers.every(({ alerts }) => alerts === null) && first !== undefined) throw first;
      const { output } = context;
      const nodes = answers.map(({ endpoint, alerts, error }) =>
        error === null ? { endpoint, alerts } : { endpoint, error: error.code, detail: error.message },
      );
      output.answer({ nodes }, () => {
        const found = gathered(answers);
        if (found.length === 0) output.line("Nothing needs your attention.");
        for (const [at, { alert, endpoints }] of found.entries()) {
          if (at > 0) output.line("");
          output.facts([
            ["alert", alert.kind],
            ["about", alert.subject],
            ["since", alert.since],
            ["what", alert.what],
            ["to do", alert.advice],
            ["seen by", endpoints.join(" ")],
            ...Object.entries(alert.data)
              .filter(([, value]) => value !== null && value !== "")
              .map(([name, value]) => [name, String(value)] as const),
          ]);
        }
        for (const { endpoint, error } of answers)
          if (error !== null) output.note(`${endpoint} gives no answer: ${error.message}`);
      });
    });
}

/** The same thing seen by several nodes is one, since the first saw it. */
function gathered(
  answers: readonly Answer[],
): readonly { readonly alert: AlertView; readonly endpoints: readonly string[] }[] {
  const found = new Map<string, { readonly alert: AlertView; readonly endpoints: readonly string[] }>();
  for (const { endpoint, alerts } of answers) {
    for (const alert of alerts ?? []) {
      const key = `${alert.kind}/${alert.subject}`;
      const known = found.get(key);
      const older = known !== undefined && known.alert.since <= alert.since ? known.alert : alert;
      found.set(key, { alert: older, endpoints: [...(known?.endpoints ?? []), endpoint] });
    }
  }
  return [...found.values()];
}
