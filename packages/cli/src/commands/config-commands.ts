import { CairnError, manifestFingerprint, manifestHashSchema } from "@cairn/core";
import type { Command } from "commander";
import { cliConfigSchema, readCliConfig, writeCliConfig } from "../cli-config.ts";
import type { CommandContext } from "../command-context.ts";
import { examples } from "./examples.ts";
import { hex32 } from "./option-values.ts";

/** `cairn config`: this command's own settings. */
export function addConfigCommands(program: Command, context: CommandContext): void {
  const config = program
    .command("config")
    .description("this command's own settings: show, set-endpoint, pin");

  config
    .command("show")
    .description("the settings; the token is never shown")
    .addHelpText("after", examples("cairn config show", "cairn config show --config ./cluster/config.toml"))
    .action(async () => {
      const path = context.configPath;
      const { token, ...rest } = await readCliConfig(path);
      const { output } = context;
      const document = {
        file: path,
        endpoints: rest.endpoints,
        token: token === undefined ? null : "redacted",
        cluster: rest.cluster,
        manifest: rest.manifest,
        requester_key: rest.requester_key ?? null,
        operator_key: rest.operator_key ?? null,
      };
      output.answer(document, () =>
        output.facts([
          ["file", path],
          ...rest.endpoints.map((endpoint) => ["endpoint", endpoint] as const),
          ["token", token === undefined ? "none" : "set, not shown"],
          ["cluster", rest.cluster],
          ["manifest", manifestFingerprint(rest.manifest)],
          ["requester key", rest.requester_key ?? "none"],
          ["operator key", rest.operator_key ?? "none"],
        ]),
      );
    });

  config
    .command("set-endpoint")
    .argument("<url...>", "base URLs of nodes, in order of preference")
    .description("which nodes to ask; the next is asked when one can't be reached")
    .addHelpText("after", examples("cairn config set-endpoint http://127.0.0.1:8081 http://127.0.0.1:8082"))
    .action(async (urls: readonly string[]) => {
      const endpoints = cliConfigSchema.shape.endpoints.safeParse(urls);
      if (!endpoints.success) {
        throw new CairnError(
          "malformed",
          "an endpoint is the base URL of a node, e.g. http://127.0.0.1:8080; at most 16",
        );
      }
      const path = context.configPath;
      await writeCliConfig(
        path,
        { ...(await readCliConfig(path)), endpoints: endpoints.data },
        { replace: true },
      );
      const { output } = context;
      output.answer({ file: path, endpoints: endpoints.data }, () =>
        output.line(`${path} now names ${endpoints.data.join(", ")}`),
      );
    });

  config
    .command("pin")
    .argument("<hash>", "hash of the manifest, as the operators confirmed it out of band")
    .description("believe another manifest from now on, after the operators have changed it")
    .addHelpText("after", examples("cairn config pin HASH"))
    .action(async (text: string) => {
      const manifest = manifestHashSchema.parse(hex32(text.replace(/\s/g, ""), "the hash of a manifest"));
      const path = context.configPath;
      await writeCliConfig(path, { ...(await readCliConfig(path)), manifest }, { replace: true });
      const { output } = context;
      output.answer({ file: path, manifest }, () =>
        output.line(`${path} now believes manifest ${manifestFingerprint(manifest)} and no other`),
      );
    });
}
