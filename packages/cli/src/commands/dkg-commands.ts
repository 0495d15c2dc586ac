import { deriveKey } from "@cairn/bitcoin";
import type { KeyView } from "@cairn/client";
import {
  CairnError,
  type KeygenRequest,
  keygenRequestHash,
  keygenRequestSchema,
  MAX_REQUEST_LIFETIME_MS,
  type Manifest,
  manifestHash,
  parseShape,
  protocolSchema,
  type Signer,
  signBody,
  toHex,
} from "@cairn/core";
import { type Command, Option } from "commander";
import type { ClusterAccess } from "../cluster-access.ts";
import type { CommandContext } from "../command-context.ts";
import { parseDuration } from "../duration.ts";
import { follow } from "../follow.ts";
import type { TrustedWallet } from "../trusted-wallet.ts";
import { examples } from "./examples.ts";
import { addDkgGrantCommand } from "./grant-commands.ts";
import { findKeyId, printKey, printKeys } from "./key-text.ts";
import { wholeNumber } from "./option-values.ts";

/** What `dkg start` and `proposal create keygen` are told. */
export interface KeygenOptions {
  readonly protocol: string;
  readonly threshold?: number;
  readonly total?: number;
  readonly label: string;
  readonly expiry: string;
  readonly wait?: true;
  readonly timeout?: string;
}

/** `cairn dkg`: distributed key generation. */
export function addDkgCommands(program: Command, context: CommandContext): void {
  const dkg = program.command("dkg").description("distributed key generation: start, status, grant");

  addKeygenOptions(
    dkg
      .command("start")
      .description(
        "have all nodes make a key together, and a wallet over it; the operator's key signs the request here",
      ),
  )
    .addHelpText(
      "after",
      examples(
        "cairn dkg start --protocol frost --wait",
        "cairn dkg start --protocol cggmp24 --threshold 4 --total 5 --label savings --wait",
      ),
    )
    .action(async (options: KeygenOptions) => startKeygen(context, options));

  dkg
    .command("status")
    .argument("[key]", "id of a key, or its first digits; all keys where it is left out")
    .description("how far key generation is")
    .addHelpText("after", examples("cairn dkg status", "cairn dkg status 3f9a0c1d"))
    .action(async (name: string | undefined) => {
      const access = await context.access();
      const { output } = context;
      if (name === undefined) {
        const list = await access.client.call("listKeys", {});
        output.answer(list, () => printKeys(output, list.keys));
        return;
      }
      const keyId = await findKeyId(access.client, name);
      const key = await access.client.call("getKey", { params: { keyId } });
      output.answer(key, () => printKey(output, key));
    });

  addDkgGrantCommand(dkg, context);
}

export function addKeygenOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--protocol <protocol>", "cggmp24: ECDSA, P2WPKH addresses; frost: Schnorr, P2TR addresses")
        .choices(protocolSchema.options)
        .makeOptionMandatory(),
    )
    .option("--threshold <t>", "nodes that must sign together; must be the manifest's", wholeNumber(2, 255))
    .option("--total <n>", "nodes that hold a share; must be the manifest's", wholeNumber(2, 255))
    .option("--label <text>", "name of the wallet", "default")
    .option("--expiry <time>", "how long nodes may approve it: 30m, 2h, at most 7d", "1h")
    .option("--wait", "follow it until the key is active and its wallet is signed by all nodes")
    .option("--timeout <time>", "give up waiting after this time; key generation goes on");
}

/** Signs a request for a key and hands it to a node. */
export async function startKeygen(context: CommandContext, options: KeygenOptions): Promise<void> {
  const { output, modules } = context;
  const timeoutMs = options.timeout === undefined ? null : parseDuration(options.timeout);
  const access = await context.access();
  const { manifest } = await access.signedManifest();
  const operator = await access.operator();
  const request = makeRequest(options, { manifest, operator, modules });
  const keyId = keygenRequestHash(request);
  const key = await access.client.call("createKey", {
    body: signBody("cairn/keygen-request/v1", request, operator),
    idempotencyKey: keyId,
  });
  if (key.keyId !== keyId || key.protocol !== request.protocol) {
    throw new CairnError(
      "peer-disagrees",
      "the node answers with another key than the one that was asked for",
      {
        keyId,
      },
    );
  }
  if (options.wait !== true) {
    output.answer(key, () => {
      printKey(output, key);
      output.note(`\nFollow it with: cairn dkg status ${keyId.slice(0, 16)}`);
    });
    return;
  }
  const { key: made, wallet } = await watchKey(context, access, keyId, timeoutMs);
  const address = deriveKey(wallet.descriptor, [0, 0]).address;
  output.answer({ key: made, wallet: wallet.record, firstAddress: address }, () => {
    printKey(output, made);
    output.line("");
    output.facts([
      ["wallet", `${wallet.record.label} (${wallet.record.wallet.slice(0, 16)})`],
      ["first address", address],
      ["descriptor", wallet.record.descriptor],
    ]);
  });
}

function makeRequest(
  options: KeygenOptions,
  facts: {
    readonly manifest: Manifest;
    readonly operator: Signer;
    readonly modules: Pick<CommandContext["modules"], "clock" | "random">;
  },
): KeygenRequest {
  const { manifest, operator, modules } = facts;
  const total = manifest.members.length;
  const threshold = options.threshold ?? manifest.threshold;
  if (threshold !== manifest.threshold || (options.total ?? total) !== total) {
    throw new CairnError(
      "malformed",
      `the manifest says ${manifest.threshold} of ${total}, and every key follows it; leave --threshold and --total out, or change the manifest first`,
      { threshold: manifest.threshold, total },
    );
  }
  if (!manifest.members.some((member) => member.operator === operator.publicKey)) {
    throw new CairnError(
      "operator-signature-missing",
      "the configured key belongs to no operator of the manifest; set operator_key to one that does",
      { operator: operator.publicKey },
    );
  }
  const lifeMs = parseDuration(options.expiry);
  if (lifeMs > MAX_REQUEST_LIFETIME_MS) {
    throw new CairnError("malformed", "--expiry is longer than the 7 days that a request may live");
  }
  const createdAt = modules.clock.now();
  return parseShape(keygenRequestSchema, {
    version: 1,
    cluster: manifest.cluster,
    manifest: manifestHash(manifest),
    protocol: options.protocol,
    threshold,
    total,
    label: options.label,
    nonce: toHex(modules.random.bytes(32)),
    createdAt,
    expiry: createdAt + lifeMs,
    operator: operator.publicKey,
  });
}

/** Waits for the key, and for the wallet over it that all nodes have signed. */
async function watchKey(
  context: CommandContext,
  access: ClusterAccess,
  keyId: string,
  timeoutMs: number | null,
): Promise<{ readonly key: KeyView; readonly wallet: TrustedWallet }> {
  const progress = context.progress;
  try {
    const readings = follow(
      {
        read: async () => {
          const key = await access.client.call("getKey", { params: { keyId } });
          const wallets = key.status === "active" ? await access.wallets() : [];
          return { key, wallet: wallets.find(({ record }) => record.keyId === keyId) };
        },
        concerns: (event) => event.type === "key" || event.type === "primes",
        timeoutMs,
        unreachable: (error) => progress.show(`no answer (${error.code}); trying again`, null),
      },
      { ...context.modules, client: access.client },
    );
    for await (const { key, wallet } of readings) {
      if (key.status === "failed") {
        throw new CairnError(
          "keygen-failed",
          `the nodes could not make the key: ${key.reason ?? "the node does not say why"}; \`cairn dkg status ${keyId.slice(0, 16)}\` shows every node's word`,
          { keyId, reason: key.reason ?? "" },
        );
      }
      if (key.status === "active" && wallet !== undefined) return { key, wallet };
      const stage = key.status === "active" ? "nodes sign the wallet" : (key.stage ?? key.status);
      progress.show(stage, key.progress);
    }
    throw new CairnError("closed", "the wait ended before key generation did");
  } finally {
    progress.end();
  }
}
