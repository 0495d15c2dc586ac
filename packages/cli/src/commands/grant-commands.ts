import { readFile, writeFile } from "node:fs/promises";
import { type GrantDocument, intentHash } from "@cairn/consensus";
import {
  CairnError,
  isCairnError,
  keygenRequestHash,
  type Manifest,
  manifestFingerprint,
  manifestHash,
  parseShape,
  spendRequestHash,
  unixMsSchema,
} from "@cairn/core";
import type { Command } from "commander";
import { btcText, satsText } from "../amount.ts";
import type { ClusterAccess } from "../cluster-access.ts";
import type { CommandContext } from "../command-context.ts";
import { fileFailure } from "../file-failure.ts";
import { judgeGrant, judgeProof, periodOf, readGrant } from "../judge-grant.ts";
import { parseInstant } from "../parse-instant.ts";
import { MANIFEST_FILE_HELP, readManifestFile } from "../read-manifest-file.ts";
import { examples } from "./examples.ts";
import { findKeyId } from "./key-text.ts";
import { hex32, PERIOD_HELP } from "./option-values.ts";

const EXPORT = "--export <file>";
const EXPORT_HELP = "write the grant to a file, for `cairn grant verify`";

/** `cairn grant`: permissions of the nodes, judged by whoever holds them. */
export function addGrantCommands(program: Command, context: CommandContext): void {
  const grant = program
    .command("grant")
    .description("grants, which nodes sign and make keys by: verify, check");
  grant
    .command("verify")
    .argument("<file>", "grant, as `cairn tx grant --export` and `cairn dkg grant --export` write it")
    .description(
      "judges a grant offline: exit code 0 if nodes would act on it, with nothing but the manifest",
    )
    .requiredOption("--manifest <file>", `the manifest that the grant names: ${MANIFEST_FILE_HELP}`)
    .option("--at <time>", `judge it as of this time, in place of now: ${PERIOD_HELP}`)
    .addHelpText(
      "after",
      examples(
        "cairn grant verify payment.grant --manifest manifest.cbor",
        "cairn grant verify payment.grant --manifest manifest.cbor --at 2026-01-31T08:00:00Z",
      ),
    )
    .action(async (file: string, options: { manifest: string; at?: string }) => {
      const { output, modules } = context;
      const manifest = await readManifestFile(options.manifest);
      const hash = manifestHash(manifest);
      const document = readGrant(await read(file));
      const clock = modules.clock.now();
      const now = options.at === undefined ? clock : Date.parse(parseInstant(options.at, clock));
      await judgeGrant(document, { manifest, manifestHash: hash, now: parseShape(unixMsSchema, now) });
      output.answer({ verdict: "valid", ...grantView(document, manifest) }, () => {
        output.facts(grantFacts(document, manifest));
        output.note(
          `\nValid to whoever trusts the manifest ${manifestFingerprint(hash)}: compare it with the operators. Whether it was used, only nodes know: \`cairn grant check\`.`,
        );
      });
    });

  grant
    .command("check")
    .argument("<file>", "grant, as `cairn tx grant --export` and `cairn dkg grant --export` write it")
    .description("asks a node whether it would act on a grant now: it also knows grants that were used")
    .addHelpText(
      "after",
      examples("cairn grant check payment.grant", "cairn grant check payment.grant --json"),
    )
    .action(async (file: string) => {
      const bytes = await read(file);
      readGrant(bytes);
      const access = await context.access();
      const answer = await access.client.call("checkGrant", {
        body: { document: Buffer.from(bytes).toString("base64") },
      });
      context.output.answer(answer, () =>
        context.output.facts([
          ["node", `${answer.node} would act on it`],
          ["subject", answer.subject],
          ["standing", answer.standing],
          ["expires", answer.expiry],
        ]),
      );
    });
}

/** `cairn tx grant`. */
export function addTxGrantCommand(tx: Command, context: CommandContext): void {
  tx.command("grant")
    .argument("<id>", "hash of the request or intent, or transaction id")
    .description("the grant by which nodes sign a transaction, with all that proves it; judged here")
    .option(EXPORT, EXPORT_HELP)
    .addHelpText("after", examples("cairn tx grant TXID", "cairn tx grant TXID --export payment.grant"))
    .action(async (text: string, options: { export?: string }) => {
      const id = hex32(text, "the hash of a request or intent, or a transaction id");
      const access = await context.access();
      const answer = await access.client.call("getSigningGrant", { params: { request: id } });
      if (answer.status === "waiting") {
        throw notYet(
          `the transaction is ${answer.state}, and ${answer.approved.length} of ${answer.needed} nodes have approved`,
          answer.explanation,
        );
      }
      await show(context, access, answer, options.export, ({ intent, txid, request }, document) => {
        const same =
          document.type === "signing" &&
          intentHash(document.intent) === intent &&
          spendRequestHash(document.intent.request.body) === request;
        return same && [intent, txid, request].includes(id);
      });
    });
}

/** `cairn dkg grant`. */
export function addDkgGrantCommand(dkg: Command, context: CommandContext): void {
  dkg
    .command("grant")
    .argument("<key>", "id of a key, or its first digits")
    .description(
      "the grant by which nodes made a key: the operator's request and all nodes' approvals; judged here",
    )
    .option(EXPORT, EXPORT_HELP)
    .addHelpText("after", examples("cairn dkg grant 3f9a0c1d", "cairn dkg grant 3f9a0c1d --export key.grant"))
    .action(async (name: string, options: { export?: string }) => {
      const access = await context.access();
      const keyId = await findKeyId(access.client, name);
      const answer = await access.client.call("getKeygenGrant", { params: { keyId } });
      if (answer.status === "waiting") {
        throw notYet(`${answer.approved.length} of ${answer.needed} nodes have approved the key`, null);
      }
      await show(
        context,
        access,
        answer,
        options.export,
        (_, document) => document.type === "keygen" && keygenRequestHash(document.request.body) === keyId,
      );
    });
}

/** Judges what a node serves as a grant, writes it to a file where one is named, and shows it. */
async function show<Answer extends { readonly document: string }>(
  context: CommandContext,
  access: ClusterAccess,
  answer: Answer,
  file: string | undefined,
  isWanted: (answer: Answer, document: GrantDocument) => boolean,
): Promise<void> {
  const { manifest } = await access.signedManifest();
  const bytes = Buffer.from(answer.document, "base64");
  const document = readGrant(bytes);
  if (!isWanted(answer, document)) throw disagrees("is for something else than was asked for");
  // First, since a grant that names another manifest is judged with that one, by `cairn grant verify`.
  if (file !== undefined) await write(file, bytes);
  try {
    await judgeProof(document, { manifest, manifestHash: manifestHash(manifest) });
  } catch (error) {
    if (!isCairnError(error) || error.code === "wrong-manifest") throw error;
    throw disagrees(`does not hold: ${error.message}`, error);
  }
  const { output } = context;
  output.answer({ ...answer, ...grantView(document, manifest) }, () =>
    output.facts(grantFacts(document, manifest)),
  );
}

function notYet(what: string, why: string | null): CairnError {
  return new CairnError(
    "quorum-missing",
    `there is no grant yet: ${what}${why === null ? "" : ` (${why})`}; ask again`,
  );
}

function disagrees(what: string, cause?: unknown): CairnError {
  return new CairnError(
    "peer-disagrees",
    `the grant that the node shows ${what}; ask another node with --endpoint URL and tell the operators`,
    {},
    cause === undefined ? {} : { cause },
  );
}

/** A grant as programs read it. */
function grantView(document: GrantDocument, manifest: Manifest) {
  const { from, until } = periodOf(document);
  const period = { notBefore: new Date(from).toISOString(), expiry: new Date(until).toISOString() };
  if (document.type === "keygen") {
    const { body } = document.request;
    return {
      type: document.type,
      cluster: body.cluster,
      keyId: keygenRequestHash(body),
      protocol: body.protocol,
      label: body.label,
      threshold: body.threshold,
      approvedBy: document.approvals.map(({ body: { node } }) => namedNode(manifest, node)),
      ...period,
    };
  }
  const { grant, intent, proof } = document;
  return {
    type: document.type,
    cluster: grant.cluster,
    grant: grant.grantId,
    intent: grant.intentHash,
    request: spendRequestHash(intent.request.body),
    wallet: grant.wallet,
    keyId: grant.keyId,
    outputs: intent.request.body.outputs.map(({ address, amountSats }) => ({
      address,
      amountSats: amountSats.toString(),
    })),
    inputs: grant.inputs.length,
    participants: grant.participants,
    threshold: grant.threshold,
    approvedBy: (proof.certificate?.votes ?? []).map(({ voter }) => namedNode(manifest, voter)),
    ...period,
  };
}

/** A grant as people read it. */
function grantFacts(document: GrantDocument, manifest: Manifest): readonly (readonly [string, string])[] {
  const view = grantView(document, manifest);
  const names = view.approvedBy.map(({ node, name }) => `node ${node} (${name ?? "?"})`).join(", ");
  const period = [
    ["not before", view.notBefore],
    ["expires", view.expiry],
  ] as const;
  if (view.type === "keygen") {
    return [
      ["grant to make", `the key ${view.keyId}`],
      ["protocol", `${view.protocol}, for the wallet ${view.label}`],
      ["approved by", names],
      ...period,
    ];
  }
  return [
    ["grant to sign", view.grant],
    ...view.outputs.map(
      ({ address, amountSats }) =>
        ["pays", `${btcText(BigInt(amountSats))} (${satsText(BigInt(amountSats))}) to ${address}`] as const,
    ),
    ["inputs", String(view.inputs)],
    ["intent", view.intent],
    ["request", view.request],
    ["wallet", view.wallet],
    ["signers", `${view.threshold} of ${view.participants.join(", ")}`],
    ["approved by", names],
    ...period,
  ];
}

function namedNode(
  manifest: Manifest,
  node: number,
): { readonly node: number; readonly name: string | null } {
  return { node, name: manifest.members.find(({ index }) => index === node)?.name ?? null };
}

async function read(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw fileFailure(cause, path);
  }
}

async function write(path: string, bytes: Uint8Array): Promise<void> {
  try {
    await writeFile(path, bytes, { flag: "wx" });
  } catch (cause) {
    throw fileFailure(cause, path);
  }
}
