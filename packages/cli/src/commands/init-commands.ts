import { stat } from "node:fs/promises";
import { CairnError, networkSchema } from "@cairn/core";
import { type Command, Option } from "commander";
import { readCliConfig, writeCliConfig } from "../cli-config.ts";
import type { CommandContext } from "../command-context.ts";
import { fileCode, fileFailure } from "../file-failure.ts";
import { askCluster } from "../init/ask-cluster.ts";
import { storageSettings } from "../init/storage-settings.ts";
import { type InitialisedCluster, initCluster } from "../init-cluster.ts";
import { addCeremonyCommands } from "./ceremony-commands.ts";
import { examples } from "./examples.ts";
import { collect, wholeNumber } from "./option-values.ts";
import { addPolicyOptions, type PolicyOptions, readPolicyOptions } from "./policy-options.ts";

interface InitOptions extends PolicyOptions {
  readonly dir: string;
  readonly network?: string;
  readonly nodes: number;
  readonly threshold?: number;
  readonly name?: readonly string[];
  readonly chain?: readonly string[];
  readonly host: string;
  readonly peerPort: number;
  readonly apiPort: number;
  readonly unsignedRequests?: true;
  readonly checkpointAnchors?: true;
  readonly storage?: string;
  readonly storagePasswordFile?: string;
}

/** `cairn init`: a new cluster, on one machine or on many. */
export function addInitCommands(program: Command, context: CommandContext): void {
  const init = program
    .command("init")
    .description(
      "make a cluster: on this machine, or with `approver`, `node`, `manifest`, `sign` and `finish` on many",
    )
    .addHelpText("after", examples("cairn init --network regtest --chain http://127.0.0.1:3002"));
  // A command of its own, since its options share names with those of the others.
  addPolicyOptions(init.command("local", { isDefault: true }))
    .description(
      "the whole cluster on this machine; what `cairn init` does by itself. On a terminal, without --network and --chain, it asks",
    )
    .option("--dir <folder>", "folder to make", "cairn-cluster")
    .addOption(new Option("--network <network>", "Bitcoin network").choices(networkSchema.options))
    .option("--nodes <n>", "number of nodes", wholeNumber(2, 64), 5)
    .option(
      "--threshold <t>",
      "nodes that must sign together; two thirds and one where it is left out",
      wholeNumber(2, 64),
    )
    .option("--name <name>", "name of a node; repeat for each", collect)
    .option("--chain <url>", "Esplora endpoint for all nodes; repeat for several", collect)
    .option("--host <host>", "address that all nodes listen on", "127.0.0.1")
    .option(
      "--peer-port <port>",
      "first node's port for peers; the next ones follow",
      wholeNumber(1, 65_000),
      9000,
    )
    .option("--api-port <port>", "first node's API port; the next ones follow", wholeNumber(1, 65_000), 8080)
    .option("--storage <url>", "where a node keeps its state, as storage.url; {node} stands for its index")
    .option("--storage-password-file <file>", "of the Postgres user, mode 0600")
    .option("--unsigned-requests", "accept spends that nobody signed; regtest only")
    .option("--checkpoint-anchors", "let spends put the hash of the audit logs' checkpoint on the chain")
    .addHelpText(
      "after",
      examples(
        "cairn init local --network regtest --chain http://127.0.0.1:3002",
        "cairn init --network signet --nodes 5 --threshold 4 --chain https://esplora.example --max-per-day 0.1btc",
      ),
    )
    .action(async (options: InitOptions) => initOneMachine(context, await complete(context, options)));
  addCeremonyCommands(init, context);
}

/** Asks for the cluster where nothing was said of it and somebody sits at the terminal. */
async function complete({ modules, output }: CommandContext, options: InitOptions): Promise<InitOptions> {
  if (options.network !== undefined || options.chain !== undefined) return options;
  if (modules.questions === null || output.json) return options;
  const { maxPerDay, ...asked } = await askCluster(modules.questions, options.dir);
  return { ...options, ...asked, ...(maxPerDay === undefined ? {} : { maxPerDay }) };
}

async function initOneMachine(context: CommandContext, options: InitOptions): Promise<void> {
  const network = networkSchema.safeParse(options.network);
  if (!network.success || options.chain === undefined) {
    throw new CairnError(
      "malformed",
      "a cluster needs --network and at least one --chain URL; `cairn init local --help` shows an example",
    );
  }
  const { name, chain } = options;
  if (name !== undefined && name.length !== options.nodes) {
    throw new CairnError(
      "malformed",
      `${options.nodes} nodes and ${name.length} × --name: give none or one each`,
    );
  }
  const cluster = await initCluster(
    {
      dir: options.dir,
      network: network.data,
      nodes: Array.from({ length: options.nodes }, (_, position) => ({
        name: name?.[position] ?? `node-${position + 1}`,
        peer: `${options.host}:${options.peerPort + position}`,
        api: `${options.host}:${options.apiPort + position}`,
        chain,
        settings: storageSettings(options, position + 1, options.nodes),
      })),
      ...(options.threshold === undefined ? {} : { threshold: options.threshold }),
      ...(options.unsignedRequests === undefined ? {} : { unsignedRequests: true }),
      ...(options.checkpointAnchors === undefined ? {} : { checkpointAnchors: true }),
      policy: readPolicyOptions(options),
    },
    context.modules,
  );
  const installed = await installConfig(context, cluster);
  report(context, cluster, installed);
}

/** Makes the new cluster the one that this user's command talks to, unless it talks to another one already. */
async function installConfig(context: CommandContext, cluster: InitialisedCluster): Promise<string | null> {
  const path = context.configPath;
  const taken = await stat(path).then(
    () => true,
    (cause) => {
      if (fileCode(cause) === "ENOENT") return false;
      throw fileFailure(cause, path);
    },
  );
  if (taken) return null;
  await writeCliConfig(path, await readCliConfig(cluster.cliConfig), { replace: false });
  return path;
}

function report({ output }: CommandContext, cluster: InitialisedCluster, installed: string | null): void {
  const { manifest } = cluster.signedManifest;
  const config = installed ?? cluster.cliConfig;
  output.answer(
    {
      dir: cluster.dir,
      cluster: manifest.cluster,
      network: manifest.network,
      threshold: manifest.threshold,
      total: manifest.members.length,
      manifest: cluster.manifestHash,
      fingerprint: cluster.fingerprint,
      caFingerprint: cluster.caFingerprint,
      config,
      nodes: cluster.nodes,
    },
    () => {
      output.facts([
        ["folder", cluster.dir],
        ["network", manifest.network],
        ["threshold", `${manifest.threshold} of ${manifest.members.length}`],
        ["fingerprint", cluster.fingerprint],
        ["configuration", config],
      ]);
      output.line("");
      output.table(
        ["node", "name", "peers", "api", "configuration"],
        cluster.nodes.map((node) => [String(node.index), node.name, node.peer, node.api, node.config]),
      );
      output.note("");
      if (installed === null) {
        output.note(
          `There is a configuration for another cluster; for this one, add --config ${cluster.cliConfig} to each command.`,
        );
      }
      output.note(
        [
          `Start each node:  cairn node start --config ${cluster.nodes[0]?.config ?? ""}`,
          "Then make a key:  cairn dkg start --protocol frost --wait",
          "All operators' keys are on this machine: move operators/ and ca/ to where they belong, or use this cluster for trying out only.",
        ].join("\n"),
      );
    },
  );
}
