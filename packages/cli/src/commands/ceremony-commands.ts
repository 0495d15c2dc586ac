import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  CairnError,
  decodeCanonical,
  Ed25519Signer,
  ed25519PublicKeySchema,
  manifestFingerprint,
  manifestHash,
  networkSchema,
  parseShape,
  signedManifestSchema,
} from "@cairn/core";
import { replacePublicFile, writeKeyFile } from "@cairn/pki";
import { type Command, Option } from "commander";
import type { z } from "zod";
import type { CommandContext } from "../command-context.ts";
import { fileFailure } from "../file-failure.ts";
import { createNodeKeys } from "../init/create-node-keys.ts";
import { drawUpCluster } from "../init/draw-up-cluster.ts";
import { finishNode } from "../init/finish-node.ts";
import { signManifest } from "../init/genesis-manifest.ts";
import { manifestSignatureSchema } from "../init/manifest-signature.ts";
import { memberEntrySchema } from "../init/member-entry.ts";
import { storageSettings } from "../init/storage-settings.ts";
import { readSigner } from "../read-signer.ts";
import { examples } from "./examples.ts";
import { collect, wholeNumber } from "./option-values.ts";
import { addPolicyOptions, type PolicyOptions, readPolicyOptions } from "./policy-options.ts";

/** `cairn init approver | node | manifest | sign | finish`: a cluster whose operators each keep their keys on their own machine. */
export function addCeremonyCommands(init: Command, context: CommandContext): void {
  addApprover(init, context);
  addNode(init, context);
  addManifest(init, context);
  addSign(init, context);
  addFinish(init, context);
}

function addApprover(init: Command, context: CommandContext): void {
  init
    .command("approver")
    .description(
      "before step 2, everybody who approves payments: make the key here, and print its public half",
    )
    .requiredOption("--file <file>", "file to make for the key, mode 0600")
    .addHelpText("after", examples("cairn init approver --file ann.pem"))
    .action(async ({ file }: { file: string }) => {
      const approver = Ed25519Signer.generate();
      try {
        await writeKeyFile(file, approver.toPem());
      } catch (cause) {
        throw fileFailure(cause, file);
      }
      const { output } = context;
      output.answer({ approver: approver.publicKey, file }, () => output.line(approver.publicKey));
      output.note(`\nHand this public key to whoever draws up the manifest. Keep ${file} to yourself.`);
    });
}

function addNode(init: Command, context: CommandContext): void {
  init
    .command("node")
    .description("step 1, every operator: make the node's keys here, and print the entry for the manifest")
    .requiredOption("--folder <folder>", "folder to make for this node")
    .requiredOption("--name <name>", "name of the node")
    .requiredOption("--peer <host:port>", "where the other nodes reach it")
    .option("--api <url>", "base URL of its REST API, for clients")
    .addHelpText(
      "after",
      examples(
        "cairn init node --folder node --name alice --peer alice.example:9000 --api https://alice.example:8080",
      ),
    )
    .action(async (options: { folder: string; name: string; peer: string; api?: string }) => {
      const entry = await createNodeKeys({
        dir: options.folder,
        name: options.name,
        peer: options.peer,
        api: options.api ?? null,
      });
      const { output } = context;
      output.answer(entry, () => output.line(JSON.stringify(entry)));
      output.note(
        `\nHand ${join(options.folder, "member.json")} to whoever draws up the manifest. Keep operator.pem offline.`,
      );
    });
}

interface ManifestOptions extends PolicyOptions {
  readonly folder: string;
  readonly network: string;
  readonly threshold?: number;
  readonly requester?: readonly string[];
}

function addManifest(init: Command, context: CommandContext): void {
  addPolicyOptions(init.command("manifest"))
    .argument("<member...>", "the operators' member.json files; the first becomes node 1")
    .description("step 2, one operator: draw up CA, certificates, policy and the manifest for all to sign")
    .requiredOption("--folder <folder>", "folder to make")
    .addOption(
      new Option("--network <network>", "Bitcoin network")
        .choices(networkSchema.options)
        .makeOptionMandatory(),
    )
    .option(
      "--threshold <t>",
      "nodes that must sign together; two thirds and one where it is left out",
      wholeNumber(2, 255),
    )
    .option(
      "--requester <key>",
      "public key that may ask for spends; one is made where none is given",
      collect,
    )
    .addHelpText(
      "after",
      examples("cairn init manifest alice.json bob.json carol.json --folder cluster --network signet"),
    )
    .action(async (files: readonly string[], options: ManifestOptions) => {
      const entries = await Promise.all(files.map((file) => readJson(file, memberEntrySchema)));
      const manifest = await drawUpCluster(
        {
          dir: options.folder,
          network: parseShape(networkSchema, options.network),
          threshold: options.threshold,
          entries,
          requesters: (options.requester ?? []).map((key) => parseShape(ed25519PublicKeySchema, key)),
          policy: readPolicyOptions(options),
        },
        context.modules,
      );
      const hash = manifestHash(manifest);
      const { output } = context;
      output.answer({ folder: options.folder, manifest: hash, fingerprint: manifestFingerprint(hash) }, () =>
        output.facts([
          ["folder", options.folder],
          ["threshold", `${manifest.threshold} of ${manifest.members.length}`],
          ["fingerprint", manifestFingerprint(hash)],
        ]),
      );
      output.note(
        `\nHand the folder ${join(options.folder, "public")} to every operator, and read the fingerprint to them by voice.`,
      );
    });
}

function addSign(init: Command, context: CommandContext): void {
  init
    .command("sign")
    .description(
      "step 3, every operator: sign the manifest, once its fingerprint is the one that was read out",
    )
    .requiredOption("--manifest <file>", "manifest.cbor")
    .requiredOption("--key <file>", "the operator's key")
    .requiredOption("--fingerprint <text>", "the manifest's fingerprint, as it was read out")
    .requiredOption("--out <file>", "file to write the signature to")
    .addHelpText(
      "after",
      examples(
        'cairn init sign --manifest public/manifest.cbor --key node/operator.pem --fingerprint "19c2b838 …" --out alice.signature.json',
      ),
    )
    .action(async (options: { manifest: string; key: string; fingerprint: string; out: string }) => {
      const { manifest } = decodeCanonical(signedManifestSchema, await read(options.manifest));
      const hash = manifestHash(manifest);
      if (options.fingerprint.replace(/\s/g, "").toLowerCase() !== hash) {
        throw new CairnError(
          "wrong-manifest",
          `the file's fingerprint is ${manifestFingerprint(hash)}, not the one that was read out: sign nothing, and ask for the file again`,
          { manifest: hash },
        );
      }
      const operator = await readSigner(options.key, { name: "the operator's key", setting: "--key" });
      if (!manifest.members.some((member) => member.operator === operator.publicKey)) {
        throw new CairnError("not-member", "the key belongs to no operator of this manifest", {
          operator: operator.publicKey,
        });
      }
      const signature = { manifest: hash, ...signManifest(manifest, operator) };
      try {
        await replacePublicFile(options.out, Buffer.from(`${JSON.stringify(signature)}\n`, "utf8"));
      } catch (cause) {
        throw fileFailure(cause, options.out);
      }
      const { output } = context;
      output.answer(signature, () => output.line(JSON.stringify(signature)));
      output.note(`\nHand ${options.out} to every operator.`);
    });
}

interface FinishOptions {
  readonly folder: string;
  readonly bundle: string;
  readonly signature: readonly string[];
  readonly chain: readonly string[];
  readonly peerListen: string;
  readonly apiListen: string;
  readonly storage?: string;
  readonly storagePasswordFile?: string;
}

function addFinish(init: Command, context: CommandContext): void {
  init
    .command("finish")
    .description("step 4, every operator: check what the others sent, and complete the node's folder")
    .requiredOption("--folder <folder>", "the node's folder, as step 1 made it")
    .requiredOption("--bundle <folder>", "the public folder of step 2")
    .requiredOption("--signature <file>", "an operator's signature of step 3; repeat for all", collect)
    .requiredOption(
      "--chain <url>",
      "Esplora endpoint of this node's own choice; repeat for several",
      collect,
    )
    .option("--peer-listen <host:port>", "where it listens for peers", "0.0.0.0:9000")
    .option("--api-listen <host:port>", "where its REST API listens", "127.0.0.1:8080")
    .option("--storage <url>", "where it keeps its state, as storage.url")
    .option("--storage-password-file <file>", "of the Postgres user, mode 0600")
    .addHelpText(
      "after",
      examples(
        "cairn init finish --folder node --bundle public --signature alice.signature.json --signature bob.signature.json --chain https://esplora.example",
      ),
    )
    .action(async (options: FinishOptions) => {
      const signatures = await Promise.all(
        options.signature.map((file) => readJson(file, manifestSignatureSchema)),
      );
      const node = await finishNode({
        dir: options.folder,
        bundle: options.bundle,
        signatures,
        peerListen: options.peerListen,
        apiListen: options.apiListen,
        chain: options.chain,
        settings: storageSettings(options, 1, 1),
        now: context.modules.clock.now(),
      });
      const fingerprint = manifestFingerprint(manifestHash(node.signedManifest.manifest));
      const { output } = context;
      output.answer({ node: node.index, config: node.config, cliConfig: node.cliConfig, fingerprint }, () =>
        output.facts([
          ["node", String(node.index)],
          ["fingerprint", fingerprint],
          ["start it", `cairn node start --config ${node.config}`],
          ["ask it", `cairn cluster status --config ${node.cliConfig}`],
          ["API tokens", `${join(options.folder, "tokens")}: one for each role`],
        ]),
      );
    });
}

async function readJson<Schema extends z.ZodType>(file: string, schema: Schema): Promise<z.output<Schema>> {
  const text = Buffer.from(await read(file)).toString("utf8");
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new CairnError("malformed", `${file} is not JSON; ask for it again`, { path: file }, { cause });
  }
  try {
    return parseShape(schema, raw);
  } catch (cause) {
    if (!(cause instanceof CairnError)) throw cause;
    throw new CairnError(cause.code, `${file}: ${cause.message}`, { path: file }, { cause });
  }
}

async function read(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw fileFailure(cause, file);
  }
}
