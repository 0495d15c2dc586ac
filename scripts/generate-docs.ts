/**
 * Writes what the documents take from the code: pages from schemas, the protocol's examples, and the parts of written pages between
 * `<!-- generated: … -->` and `<!-- end -->`.
 *
 *   node scripts/generate-docs.ts            writes (after a change that is meant: read the difference)
 *   node scripts/generate-docs.ts --check    says what differs, and exits 1
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { contract, openApiDocument, problemSchema, type Route, refusalsOf } from "@cairn/client";
import { domainTags, errorCodes, messageKinds, postedKinds, systemClock, systemRandom } from "@cairn/core";
import { createTransportMetrics } from "@cairn/transport";
import type { Command } from "commander";
import { z } from "zod";
import { MOST_UNPROVEN_INDEX } from "../packages/cli/src/choose-address.ts";
import { createProgram } from "../packages/cli/src/run-cli.ts";
import { describeConfig } from "../packages/node/src/describe-config.ts";
import { createMetrics } from "../packages/node/src/metrics.ts";
import { softwareVersion } from "../packages/node/src/software-version.ts";
import { errorAdvice } from "./error-advice.ts";
import { type ProtocolExample, type ProtocolExamples, protocolExamples } from "./protocol-examples.ts";

const root = join(import.meta.dirname, "..");
const EXAMPLES = "docs/protocol-examples.json";
/** Pages with generated parts. */
const WRITTEN = ["docs/protocol.md", "docs/operations.md"];
const HEX_WIDTH = 96;

/** Every generated file by path, with its whole content. */
export async function generatedDocs(): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  const examples = await protocolExamples(sealedBefore());
  files.set(EXAMPLES, `${JSON.stringify(examples, null, 1)}\n`);
  files.set("docs/configuration.md", configurationPage());
  files.set("docs/api.md", apiPage());
  files.set("docs/cli.md", cliPage());
  for (const path of WRITTEN) {
    if (!existsSync(join(root, path))) continue;
    files.set(path, await fillIn(readFileSync(join(root, path), "utf8"), examples));
  }
  return files;
}

/** What differs from the code, one line a finding. */
export async function staleDocs(): Promise<string[]> {
  const problems: string[] = [];
  for (const [path, content] of await generatedDocs()) {
    const file = join(root, path);
    if (!existsSync(file)) problems.push(`${path}: missing; write it with node scripts/generate-docs.ts`);
    else if (readFileSync(file, "utf8") !== content)
      problems.push(
        `${path}: differs from the code; run node scripts/generate-docs.ts and read the difference`,
      );
  }
  problems.push(...undescribedFields(readFileSync(join(root, "docs/protocol.md"), "utf8"), readExamples()));
  problems.push(...missingTests(readFileSync(join(root, "docs/threat-model.md"), "utf8")));
  return problems;
}

/** Tests that the threat model names and that are not in the file which it links. */
function missingTests(page: string): string[] {
  const links = page.matchAll(
    /\[([^\]]+)\]\(\.\.\/((?:packages|scripts\/test|native\/engine\/tests)\/[^)]+)\)/g,
  );
  return [...links].flatMap(([, name = "", path = ""]) => {
    const file = join(root, path);
    const known = existsSync(file) && readFileSync(file, "utf8").includes(name);
    return known ? [] : [`docs/threat-model.md: ${path} has no test "${name}"`];
  });
}

const examplesSchema = z.object({
  examples: z.record(z.string(), z.looseObject({ body: z.unknown(), encoded: z.string() })),
});

function readExamples(): z.output<typeof examplesSchema>["examples"] {
  return examplesSchema.parse(JSON.parse(readFileSync(join(root, EXAMPLES), "utf8"))).examples;
}

function sealedBefore(): string | null {
  if (!existsSync(join(root, EXAMPLES))) return null;
  return readExamples()["envelope-frame"]?.encoded ?? null;
}

/**
 * Fields of examples that no table of their section describes: every first-level field must stand in a row that begins with it, under the
 * same heading as the example.
 */
export function undescribedFields(
  page: string,
  examples: Readonly<Record<string, { readonly body: unknown }>>,
): string[] {
  const problems: string[] = [];
  const shown = new Set<string>();
  for (const section of page.split(/^(?=#{2,4} )/m)) {
    const rows = new Set([...section.matchAll(/^\| `([A-Za-z0-9]+)`/gm)].map((match) => match[1]));
    for (const { 1: name = "" } of section.matchAll(/^<!-- generated: example ([a-z-]+) -->/gm)) {
      shown.add(name);
      const body = examples[name]?.body;
      if (typeof body !== "object" || body === null || Array.isArray(body) || "bytes" in body) continue;
      for (const field of Object.keys(body)) {
        if (!rows.has(field))
          problems.push(
            `docs/protocol.md: "${name}" has a field \`${field}\` that no table of its section describes`,
          );
      }
    }
  }
  for (const name of Object.keys(examples)) {
    if (!shown.has(name)) problems.push(`docs/protocol.md: the example "${name}" is not shown`);
  }
  return problems;
}

/** `page` with its generated parts made anew. */
async function fillIn(page: string, examples: ProtocolExamples): Promise<string> {
  const metrics = page.includes("generated: metrics") ? await metricsTable() : "";
  return page.replaceAll(
    /^<!-- generated: ([a-z]+)(?: ([a-z-]+))? -->\n[\s\S]*?^<!-- end -->$/gm,
    (_, what: string, name: string | undefined) => {
      const text = partOf(what, name ?? "", examples, metrics);
      return `<!-- generated: ${what}${name === undefined ? "" : ` ${name}`} -->\n${text}\n<!-- end -->`;
    },
  );
}

function partOf(what: string, name: string, { keys, examples }: ProtocolExamples, metrics: string): string {
  switch (what) {
    case "example": {
      const example = examples[name];
      if (example === undefined)
        throw new Error(`docs/protocol.md names an example "${name}" that is not made`);
      return exampleText(name, example);
    }
    case "keys":
      return table(
        ["key", "private", "public"],
        Object.entries(keys).map(([key, pair]) => [key, `\`${pair.private}\``, `\`${pair.public}\``]),
      );
    case "tags":
      return domainTags.map((tag) => `\`${tag}\``).join(", ");
    case "kinds":
      return table(
        ["kind", "delivery"],
        messageKinds.map((kind) => [
          `\`${kind}\``,
          postedKinds.has(kind) ? "until acknowledged" : "at most once",
        ]),
      );
    case "errors":
      return table(
        ["code", "HTTP", "exit", "what it means and what to do"],
        Object.entries(errorCodes).map(([code, { http, exit }]) => [
          `\`${code}\``,
          String(http),
          String(exit),
          errorAdvice[code as keyof typeof errorCodes],
        ]),
      );
    case "metrics":
      return metrics;
    default:
      throw new Error(`a page asks for "${what}", which is not generated`);
  }
}

function exampleText(name: string, example: ProtocolExample): string {
  const { domain, signer, body, encoded, hash, signature } = example;
  const long = encoded.length > 16 * HEX_WIDTH;
  const lines = [
    `Example \`${name}\`:`,
    "",
    ...(long
      ? [
          `${encoded.length / 2} bytes, in [protocol-examples.json](protocol-examples.json); they begin with`,
          "",
          "```text",
          wrap(encoded.slice(0, 2 * HEX_WIDTH)),
          "```",
        ]
      : ["```json", JSON.stringify(body, null, 1), "```", "", "```text", wrap(encoded), "```"]),
  ];
  if (domain !== null) lines.push("", `Hash under \`${domain}\`: \`${hash}\``);
  if (signature !== null) lines.push("", `Signed by \`${signer}\`: \`${signature}\``);
  return lines.join("\n");
}

function wrap(hex: string): string {
  return hex.match(new RegExp(`.{1,${HEX_WIDTH}}`, "g"))?.join("\n") ?? "";
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n");
}

const GENERATED_NOTE = "Generated by `scripts/generate-docs.ts`; do not edit.";

function configurationPage(): string {
  const keys = describeConfig();
  const sections = [...new Set(keys.map(({ section }) => section))];
  const parts = sections.map((section) => {
    const rows = keys
      .filter((key) => key.section === section)
      .map((key) => [
        `\`${key.key}\``,
        key.type,
        key.default === undefined ? "must be set" : `\`${JSON.stringify(key.default)}\``,
        key.description,
      ]);
    return `## \`[${section}]\`\n\n${table(["key", "type", "default", "meaning"], rows)}`;
  });
  const sample = keys.find(({ default: value }) => value !== undefined) ?? keys[0];
  return `# Configuration of a node

${GENERATED_NOTE}

A node reads \`cairn.toml\`. Each key can be overridden by an environment variable, and that by a flag: \`${sample?.name}\` is
\`${sample?.variable}\` and \`--${sample?.name} VALUE\`. Names of files are relative to the folder of \`cairn.toml\`. Unknown keys and values out of
range stop the start; all are named at once.

${parts.join("\n\n")}
`;
}

interface Shape {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly items?: Shape;
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly required?: readonly string[];
  readonly anyOf?: readonly Shape[];
  readonly oneOf?: readonly Shape[];
  readonly description?: string;
  readonly default?: unknown;
}

function shapeOf(schema: z.ZodType): Shape {
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Shape;
}

function typeText(shape: Shape): string {
  if (shape.const !== undefined) return JSON.stringify(shape.const);
  if (shape.enum !== undefined) return shape.enum.map((value) => JSON.stringify(value)).join(" \\| ");
  const choices = shape.anyOf ?? shape.oneOf;
  if (choices !== undefined) return choices.map(typeText).join(" or ");
  if (shape.type === "array")
    return `list of ${shape.items === undefined ? "anything" : typeText(shape.items)}`;
  return shape.type ?? "anything";
}

/** Rows for every field of an object, nested ones by path. */
function fieldRows(shape: Shape, path: string): string[][] {
  return Object.entries(shape.properties ?? {}).flatMap(([name, field]) => {
    const here = `${path}${name}`;
    const inner = field.type === "array" ? field.items : field;
    const nested =
      inner?.properties === undefined ? [] : fieldRows(inner, `${here}${inner === field ? "" : "[]"}.`);
    const optional = shape.required?.includes(name) === true ? "" : " (optional)";
    return [[`\`${here}\``, `${typeText(field)}${optional}`, field.description ?? ""], ...nested];
  });
}

function fieldsTable(title: string, schema: z.ZodType): string {
  const shape = shapeOf(schema);
  const choices = shape.anyOf ?? shape.oneOf ?? [shape];
  return choices
    .map((choice, position) => {
      const rows = fieldRows(choice, "").map(
        ([name = "", type = "", text = ""]) =>
          `| ${name} | ${type.replaceAll(/(?<!\\)\|/g, "\\|")} | ${text.replaceAll("|", "\\|")} |`,
      );
      const heading = choices.length === 1 ? title : `${title}, form ${position + 1} of ${choices.length}`;
      return [`${heading}:`, "", "| field | type | |", "|---|---|---|", ...rows].join("\n");
    })
    .join("\n\n");
}

function apiPage(): string {
  const document = openApiDocument(softwareVersion);
  const pathSchema = z.looseObject({ summary: z.string(), description: z.string().optional() });
  const paths = z.record(z.string(), z.record(z.string(), pathSchema)).parse(document.paths);
  const routes = Object.entries<Route>(contract);
  const listed = routes.map(([, route]) => [
    `\`${route.method} ${route.path}\``,
    route.role ?? "open",
    route.summary,
  ]);
  const known = new Set(routes.map(([, route]) => route.path.replace(/:([A-Za-z]+)/g, "{$1}")));
  for (const [path, { get }] of Object.entries(paths)) {
    if (known.has(path) || get === undefined) continue;
    listed.push([`\`GET ${path}\``, get.description?.replace("Role: ", "") ?? "open", get.summary]);
  }
  const parts = routes.map(([name, route]) => {
    const blocks = [
      `### \`${route.method} ${route.path}\``,
      `${route.summary}. Operation \`${name}\`; role: ${route.role ?? "none, open to all"}; answers ${route.status}${
        route.waiting === undefined ? "" : ", or 202 while what is asked for is not there yet"
      }${route.idempotent ? "; takes `Idempotency-Key`" : ""}.`,
    ];
    if (route.query !== undefined) blocks.push(fieldsTable("Query", route.query));
    if (route.body !== undefined) blocks.push(fieldsTable("Body", route.body));
    const codes = [...refusalsOf(route).values()].flat();
    blocks.push(`Refuses with ${codes.map((code) => `\`${code}\``).join(", ")}.`);
    blocks.push(fieldsTable("Answer", route.response));
    if (route.waiting !== undefined) blocks.push(fieldsTable("Answer with status 202", route.waiting));
    return blocks.join("\n\n");
  });
  return `# REST API of a node

${GENERATED_NOTE}

Amounts are decimal strings of satoshi, times ISO 8601 in UTC, ids lower-case hexadecimal. A caller sends \`Authorization: Bearer TOKEN\`. Roles are
\`viewer\`, \`spender\`, \`operator\` and \`admin\`; each may do what the ones before it may. A token opens a door; a spend also needs the owner's
signature. The node serves the same contract as an OpenAPI 3.1 document at \`/api/v1/openapi.json\`, and as a page to read at \`/api/docs\`.

Lists are newest first (the audit log: oldest first) and come in pages: \`next\` is the \`cursor\` (audit log: \`from\`) of the page that follows, null on
the last. Unknown query parameters and fields are refused.

## Limits

| limit | value | beyond it |
|---|---|---|
| requests a minute, for each token, or address without a valid one | \`api.rate_per_minute\` | 429 with \`Retry-After\`; every answer carries \`RateLimit-Limit\`, \`RateLimit-Remaining\`, \`RateLimit-Reset\` |
| body | \`api.max_body_bytes\` | 413 |
| nesting of a body | 16 | 400 |
| headers | 16 KiB | 413 |
| time for the headers, and for a whole request | 10 s, 30 s | 408 and the end of the connection |
| silence between two requests of a connection | 30 s | the end of the connection |
| connections | \`api.max_connections\` | the end of the connection |
| event streams, of all and of one token | 64, 8 | 503 \`busy\` |
| what waits for a slow reader of events | 256 KiB | the end of the stream |

A stream of events has no memory: after a cut, read the lists anew. \`Idempotency-Key\` makes a retry the same request for
\`api.idempotency_days\`; after that the key is forgotten and a retry is a new request.

${table(["endpoint", "role", ""], listed)}

## Errors

Every answer that is no success is \`application/problem+json\` (RFC 9457). [Operations](operations.md#error-codes) lists the codes.

${fieldsTable("Problem", problemSchema.omit({ code: true })).replace(
  "| `title`",
  "| `code` | string | One of the error codes |\n| `title`",
)}

## Endpoints

${parts.join("\n\n")}
`;
}

/** Every command with its options and examples, from what `--help` prints. */
function cliPage(): string {
  const nowhere = { write: () => {}, isTTY: false };
  const program = createProgram({
    stdout: nowhere,
    stderr: nowhere,
    environment: {},
    clock: systemClock,
    random: systemRandom,
    sleep: async () => {},
    signal: new AbortController().signal,
    pollMs: 1,
    confirm: null,
    questions: null,
    runDaemon: async () => 0,
  });
  const commands = leafCommands(program);
  const parts = commands.map((command) => {
    const name = commandName(command);
    const options = command.options.map((option) => [
      `\`${option.flags}\``,
      `${option.description}${option.argChoices === undefined ? "" : ` (${option.argChoices.join(", ")})`}`,
      option.mandatory ? "needed" : option.defaultValue === undefined ? "" : `\`${option.defaultValue}\``,
    ]);
    const words = command.registeredArguments.map((argument) => {
      const dots = argument.variadic ? "..." : "";
      return argument.required ? `<${argument.name()}${dots}>` : `[${argument.name()}${dots}]`;
    });
    return [
      `### \`${[name, ...words].join(" ")}\``,
      `${command.description()}.`,
      ...(options.length === 0 ? [] : [table(["option", "meaning", "default"], options)]),
    ].join("\n\n");
  });
  const byExit = new Map<number, string[]>();
  for (const [code, { exit }] of Object.entries(errorCodes)) {
    byExit.set(exit, [...(byExit.get(exit) ?? []), `\`${code}\``]);
  }
  const exits = [...byExit]
    .sort(([a], [b]) => a - b)
    .map(([exit, codes]) => [String(exit), codes.join(", ")]);
  const globals = program.options.map((option) => [`\`${option.flags}\``, option.description]);
  return `# The \`cairn\` command

${GENERATED_NOTE}

\`cairn COMMAND --help\` shows the same with examples. Answers go to standard output, everything else to standard error. With \`--json\` the answer
is one JSON document (a line each for streams), and a failure one problem document (RFC 9457) on standard error. Colours appear on a terminal,
unless \`NO_COLOR\` is set.

${table(["option of every command", "meaning"], globals)}

A command that asks several nodes names those that are down or disagree. A receive address is derived here from the wallet's own descriptor, at the
highest index that f + 1 of the configured nodes reach (f = ⌊(n − 1) / 3⌋); where fewer answer, up to index ${MOST_UNPROVEN_INDEX}.

## Exit codes

The code follows from the error. 0 is success, 130 an interrupt; a daemon that \`cairn node start\` runs passes its own on.

${table(["exit", "error codes"], exits)}

## Commands

${parts.join("\n\n")}
`;
}

function leafCommands(command: Command): readonly Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leafCommands);
}

function commandName(command: Command): string {
  return command.parent === null ? command.name() : `${commandName(command.parent)} ${command.name()}`;
}

async function metricsTable(): Promise<string> {
  const metrics = createMetrics();
  createTransportMetrics(metrics.counters);
  metrics.observe({
    peersUp: () => 0,
    tipHeight: () => null,
    burnCounter: async () => 0,
    auditLength: async () => 0,
    primesReady: async () => 0,
    presignatures: async () => [],
    bansInForce: () => 0,
    abstains: () => false,
    peersWhole: () => 0,
    eventClients: () => 0,
    alerts: () => new Map(),
  });
  const described = await metrics.registry.getMetricsAsJSON();
  return table(
    ["metric", "type", "meaning"],
    described
      .filter(({ name }) => /^(cairn|p2p)_/.test(name))
      .map(({ name, type, help }) => [`\`${name}\``, String(type), help])
      .sort(([a = ""], [b = ""]) => (a < b ? -1 : 1)),
  );
}

const started = process.argv[1];
if (started !== undefined && pathToFileURL(started).href === import.meta.url) {
  if (process.argv.includes("--check")) {
    const problems = await staleDocs();
    for (const problem of problems) console.log(problem);
    process.exitCode = problems.length === 0 ? 0 : 1;
  } else {
    for (const [path, content] of await generatedDocs()) writeFileSync(join(root, path), content);
    for (const problem of await staleDocs()) console.log(problem);
  }
}
