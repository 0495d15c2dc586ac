import type { CairnClient, PresignatureStatus } from "@cairn/client";
import { CairnError } from "@cairn/core";
import { type Command, Option } from "commander";
import type { CommandContext } from "../command-context.ts";
import type { Output } from "../output.ts";
import { examples } from "./examples.ts";
import { findKeyId } from "./key-text.ts";
import { wholeNumber } from "./option-values.ts";

interface ListOptions {
  readonly key?: string;
  readonly state?: "pending" | "ready" | "burned" | "discarded";
  readonly limit: number;
  readonly cursor?: string;
}

/** `cairn presig`: the stock of half-made signatures. */
export function addPresigCommands(program: Command, context: CommandContext): void {
  const presig = program.command("presig").description("presignatures: generate, list, status");

  presig
    .command("generate")
    .description("make presignatures now for a key's outputs, rather than at the next look at the stock")
    .requiredOption("--count <number>", "how many, at most 200", wholeNumber(1, 200))
    .option("--key <key>", "id of the key, or its first digits; may be left out where only one is active")
    .addHelpText("after", examples("cairn presig generate --count 10"))
    .action(async (options: { count: number; key?: string }) => {
      const access = await context.access();
      const keyId = await chooseKey(access.client, options.key);
      const status = await access.client.call("generatePresignatures", {
        body: { keyId, count: options.count },
      });
      const { output } = context;
      output.answer(status, () => printStatus(output, status));
    });

  presig
    .command("list")
    .description("presignatures of the node that is asked, newest first")
    .option("--key <key>", "id of a key, or its first digits")
    .addOption(
      new Option("--state <state>", "only in this state").choices([
        "pending",
        "ready",
        "burned",
        "discarded",
      ]),
    )
    .option("--limit <number>", "how many, at most 1000", wholeNumber(1, 1_000), 50)
    .option("--cursor <cursor>", "go on where an earlier page ended")
    .addHelpText("after", examples("cairn presig list --state ready"))
    .action(async (options: ListOptions) => {
      const access = await context.access();
      const keyId = options.key === undefined ? undefined : await findKeyId(access.client, options.key);
      const list = await access.client.call("listPresignatures", {
        query: {
          limit: options.limit,
          ...(options.cursor === undefined ? {} : { cursor: options.cursor }),
          ...(keyId === undefined ? {} : { keyId }),
          ...(options.state === undefined ? {} : { state: options.state }),
        },
      });
      const { output } = context;
      output.answer(list, () => {
        if (list.presignatures.length === 0) output.line("No presignatures.");
        else
          output.table(
            ["presignature", "key", "path", "signers", "state", "created", "burned"],
            list.presignatures.map((item) => [
              item.id.slice(0, 16),
              item.keyId.slice(0, 16),
              item.path.join("/"),
              item.signers.join(","),
              item.state,
              item.createdAt,
              item.burnedAt ?? "",
            ]),
          );
        if (list.next !== null) output.note(`\nMore: cairn presig list --cursor ${list.next}`);
      });
    });

  presig
    .command("status")
    .description("the stock, and how much of it is usable with the nodes that are up now")
    .addHelpText("after", examples("cairn presig status", "cairn presig status --json"))
    .action(async () => {
      const access = await context.access();
      const status = await access.client.call("getPresignatureStatus", {});
      const { output } = context;
      output.answer(status, () => printStatus(output, status));
    });
}

async function chooseKey(client: Pick<CairnClient, "call">, name: string | undefined): Promise<string> {
  if (name !== undefined) return findKeyId(client, name);
  const { keys } = await client.call("listKeys", {});
  const active = keys.filter(({ status, protocol }) => status === "active" && protocol === "cggmp24");
  const [first, second] = active;
  if (first === undefined) {
    throw new CairnError(
      "not-found",
      "there is no active cggmp24 key, and only those have presignatures; make one with `cairn dkg start --protocol cggmp24`",
    );
  }
  if (second !== undefined) {
    throw new CairnError("malformed", "several keys are active; name one with --key", {
      keys: active.map(({ keyId }) => keyId),
    });
  }
  return first.keyId;
}

function printStatus(output: Output, status: PresignatureStatus): void {
  output.facts([
    ["target", String(status.target)],
    ["refill below", String(status.refillBelow)],
    ["batch", String(status.batch)],
  ]);
  if (status.keys.length === 0) return;
  output.line("");
  output.table(
    ["key", "usable", "ready", "pending", "burned", "wanted"],
    status.keys.map((key) => [
      key.keyId.slice(0, 16),
      String(key.usable),
      String(key.ready),
      String(key.pending),
      String(key.burned),
      String(key.wanted),
    ]),
  );
}
