import { CairnError } from "@cairn/core";
import type { Command } from "commander";
import { z } from "zod";
import { cliConfigPath, readCliConfig } from "./cli-config.ts";
import type { CliModules } from "./cli-modules.ts";
import { ClusterAccess } from "./cluster-access.ts";
import { Output } from "./output.ts";
import { Progress } from "./progress.ts";

const globalsSchema = z.object({
  config: z.string().optional(),
  json: z.boolean().default(false),
  color: z.boolean().default(true),
  endpoint: z.array(z.url({ protocol: /^https?$/ })).default([]),
});

/** What every command works with; read from the global options once those are parsed. */
export class CommandContext {
  readonly modules: CliModules;
  readonly #program: Command;
  #output: Output | null = null;

  constructor(program: Command, modules: CliModules) {
    this.#program = program;
    this.modules = modules;
  }

  get output(): Output {
    const { json, color } = this.#globals();
    this.#output ??= new Output({ json, colour: color }, this.modules);
    return this.#output;
  }

  get progress(): Progress {
    return new Progress({ silent: this.output.json }, this.modules);
  }

  /** Value of `--config`, if it was given. */
  get configFlag(): string | undefined {
    return this.#globals().config;
  }

  get configPath(): string {
    return cliConfigPath(this.configFlag, this.modules.environment);
  }

  /** @throws CairnError of {@link readCliConfig} */
  async access(): Promise<ClusterAccess> {
    const { endpoint } = this.#globals();
    const access = new ClusterAccess(await readCliConfig(this.configPath), endpoint);
    for (const url of access.endpoints) if (isOpen(url)) this.output.note(openWarning(url));
    return access;
  }

  #globals(): z.output<typeof globalsSchema> {
    const parsed = globalsSchema.safeParse(this.#program.opts());
    if (parsed.success) return parsed.data;
    throw new CairnError("malformed", "--endpoint needs the base URL of a node, e.g. http://127.0.0.1:8080");
  }
}

/** Whether a token would cross a network in the clear. */
function isOpen(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === "http:" && hostname !== "localhost" && hostname !== "[::1]" && !/^127\./.test(hostname);
}

function openWarning(url: string): string {
  return `warning: ${url} is not encrypted: whoever is on the way can read the token; serve the API with TLS`;
}
