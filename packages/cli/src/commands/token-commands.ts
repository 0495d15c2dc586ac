import { createHash } from "node:crypto";
import { access as reach } from "node:fs/promises";
import { resolve } from "node:path";
import { type Role, roles, type TokenView } from "@cairn/client";
import { CairnError } from "@cairn/core";
import { readKeyFile, writeKeyFile } from "@cairn/pki";
import { type Command, Option } from "commander";
import type { CommandContext } from "../command-context.ts";
import { parseDuration } from "../duration.ts";
import { fileCode, fileFailure } from "../file-failure.ts";
import { createToken, type Token } from "../init/create-token.ts";
import { askEach, failures, type NodeAnswer, successes } from "../node-answer.ts";
import { examples } from "./examples.ts";

interface CreateOptions {
  readonly name: string;
  readonly role: Role;
  readonly expires?: string;
  readonly file?: string;
}

/** `cairn token`: who may call the nodes' API. */
export function addTokenCommands(program: Command, context: CommandContext): void {
  const token = program
    .command("token")
    .description("tokens of the API: create, list, revoke; an admin's token is needed");

  token
    .command("create")
    .description("make a token here and let every configured node know its hash; no node learns the token")
    .requiredOption("--name <name>", "name in the log, unique among the tokens in force")
    .addOption(
      new Option("--role <role>", "viewer reads; spender hands in payments; operator keys; admin tokens")
        .choices([...roles])
        .makeOptionMandatory(),
    )
    .option("--expires <time>", "how long it counts: 12h, 90d; for ever where it is left out")
    .option(
      "--file <file>",
      "keep it in this file, mode 0600, rather than print it; taken from there on a retry",
    )
    .addHelpText(
      "after",
      examples(
        "cairn token create --name grafana --role viewer --expires 90d",
        "cairn token create --name shop --role spender --file shop.token",
      ),
    )
    .action(async (options: CreateOptions) => create(context, options));

  token
    .command("list")
    .description("tokens that the nodes know: names, roles and hashes, never the tokens")
    .addHelpText("after", examples("cairn token list", "cairn token list --json"))
    .action(async () => list(context));

  token
    .command("revoke")
    .argument("<token>", "its name, or at least 8 digits of its hash")
    .description("end a token at every configured node")
    .addHelpText("after", examples("cairn token revoke grafana", "cairn token revoke 3f9a0c1d"))
    .action(async (name: string) => revoke(context, name));
}

async function create(context: CommandContext, options: CreateOptions): Promise<void> {
  const { output, modules } = context;
  const access = await context.access();
  const expiresAt =
    options.expires === undefined
      ? null
      : new Date(modules.clock.now() + parseDuration(options.expires)).toISOString();
  const token = options.file === undefined ? createToken() : await tokenOfFile(options.file);
  const { name, role } = options;
  const answers = await askEach(
    access.clients().map(({ endpoint, client }) => ({
      endpoint,
      ask: () => client.call("createToken", { body: { name, role, hash: token.hash, expiresAt } }),
    })),
  );
  successes(answers);
  const printed = options.file === undefined ? { token: token.text } : { file: resolve(options.file) };
  output.answer({ name, role, hash: token.hash, expiresAt, ...printed, nodes: report(answers) }, () => {
    output.line(options.file === undefined ? token.text : resolve(options.file));
    output.note(
      options.file === undefined
        ? "Keep it now: it is shown this once."
        : `The token is in ${resolve(options.file)}.`,
    );
  });
  complain(context, answers, "does not know the token; run this again with --file when it is back");
}

/** The token that a file keeps; made with it where there is none. */
async function tokenOfFile(file: string): Promise<Token> {
  try {
    const there = await reach(file).then(
      () => true,
      (cause) => {
        if (fileCode(cause) === "ENOENT") return false;
        throw cause;
      },
    );
    if (!there) {
      const token = createToken();
      await writeKeyFile(file, Buffer.from(`${token.text}\n`, "utf8"));
      return token;
    }
    const text = Buffer.from(await readKeyFile(file))
      .toString("utf8")
      .trim();
    if (!/^[A-Za-z0-9_-]{43}$/.test(text)) {
      throw new CairnError(
        "file-exists",
        `${file} is there and holds no token of this command; name another file`,
        { path: file },
      );
    }
    return { text, hash: createHash("sha256").update(text, "utf8").digest("hex") };
  } catch (cause) {
    throw fileFailure(cause, file);
  }
}

async function list(context: CommandContext): Promise<void> {
  const { output } = context;
  const access = await context.access();
  const answers = await askEach(
    access.clients().map(({ endpoint, client }) => ({
      endpoint,
      ask: async () => (await client.call("listTokens", {})).tokens,
    })),
  );
  const known = successes(answers);
  output.answer(
    {
      nodes: answers.map(({ endpoint, value, error }) =>
        error === null ? { endpoint, tokens: value } : { endpoint, error: error.code },
      ),
    },
    () => {
      const byHash = new Map<
        string,
        { readonly view: TokenView; readonly states: Set<string>; nodes: number }
      >();
      for (const { value } of known) {
        for (const view of value) {
          const entry = byHash.get(view.hash) ?? { view, states: new Set<string>(), nodes: 0 };
          entry.states.add(stateOf(view, context.modules.clock.now()));
          entry.nodes += 1;
          byHash.set(view.hash, entry);
        }
      }
      output.table(
        ["name", "role", "hash", "made by", "state", "expires", "nodes"],
        [...byHash.values()].map(({ view, states, nodes }) => [
          view.name,
          view.role,
          view.hash.slice(0, 16),
          view.source,
          [...states].join(", "),
          view.expiresAt ?? "never",
          `${nodes}/${known.length}`,
        ]),
      );
      for (const { endpoint, error } of failures(answers)) {
        output.note(`${endpoint} gives no answer: ${error.message}`);
      }
    },
  );
}

async function revoke(context: CommandContext, name: string): Promise<void> {
  const { output } = context;
  const access = await context.access();
  const answers = await askEach(
    access.clients().map(({ endpoint, client }) => ({
      endpoint,
      ask: async (): Promise<TokenView | null> => {
        const { tokens } = await client.call("listTokens", {});
        const hashes = tokens.filter(
          (view) =>
            view.revokedAt === null &&
            (view.name === name || (/^[0-9a-f]{8,64}$/.test(name) && view.hash.startsWith(name))),
        );
        const [first, second] = hashes;
        if (second !== undefined) {
          throw new CairnError("malformed", "several tokens fit; name more digits of the hash", {
            hashes: hashes.map(({ hash }) => hash),
          });
        }
        return first === undefined ? null : client.call("revokeToken", { params: { hash: first.hash } });
      },
    })),
  );
  const done = successes(answers);
  const ended = done.filter(({ value }) => value !== null);
  if (ended.length === 0) {
    const down = failures(answers).length;
    throw new CairnError(
      "not-found",
      `no node that answers has a token in force of that name or hash${down === 0 ? "" : `, and ${down} gave no answer`}; \`cairn token list\` names them`,
      { token: name, unanswered: down },
    );
  }
  output.answer({ token: name, nodes: report(answers) }, () =>
    output.line(`${name} is revoked at ${ended.length} of ${access.endpoints.length} nodes`),
  );
  complain(context, answers, "may still take the token; run this again when it is back");
}

function stateOf({ revokedAt, expiresAt }: TokenView, now: number): string {
  if (revokedAt !== null) return "revoked";
  return expiresAt !== null && Date.parse(expiresAt) <= now ? "expired" : "active";
}

function report(answers: readonly NodeAnswer<unknown>[]): unknown {
  return answers.map(({ endpoint, error }) => ({
    endpoint,
    done: error === null,
    error: error?.code ?? null,
  }));
}

/** Ends the command with the first failure, after each was named: a token that only some nodes know is no success. */
function complain({ output }: CommandContext, answers: readonly NodeAnswer<unknown>[], what: string): void {
  const failed = failures(answers);
  for (const { endpoint, error } of failed) output.note(`${endpoint} ${what}: ${error.message}`);
  const [first] = failed;
  if (first === undefined) return;
  throw new CairnError(
    first.error.code,
    `${failed.length} of ${answers.length} nodes did not do it; ${first.endpoint}: ${first.error.message}`,
    { endpoints: failed.map(({ endpoint }) => endpoint) },
  );
}
