import { readFile } from "node:fs/promises";
import { EsploraClient } from "@cairn/bitcoin";
import {
  CairnError,
  decodeCanonical,
  type ManifestHash,
  manifestHash,
  signedManifestSchema,
  systemClock,
} from "@cairn/core";
import type { Command } from "commander";
import { readCliConfig } from "../cli-config.ts";
import type { CommandContext } from "../command-context.ts";
import { auditExportLines, writeLines } from "../export-audit.ts";
import { fileFailure } from "../file-failure.ts";
import { type VerifiedAnchor, verifyAnchors } from "../verify-anchors.ts";
import { type VerifiedExport, verifyAuditExports } from "../verify-audit-exports.ts";
import { examples } from "./examples.ts";
import { wholeNumber } from "./option-values.ts";

/** `cairn audit`. */
export function addAuditCommands(program: Command, context: CommandContext): void {
  const audit = program
    .command("audit")
    .description("a node's audit log: list, export, verify; its anchors on the chain");
  audit
    .command("list")
    .description("entries of the asked node's audit log, oldest first")
    .option("--from <number>", "sequence number to begin with", wholeNumber(0, Number.MAX_SAFE_INTEGER), 0)
    .option("--kind <kind>", "only of this kind, e.g. vote-cast")
    .option("--limit <number>", "how many, at most 200", wholeNumber(1, 200), 50)
    .addHelpText("after", examples("cairn audit list", "cairn audit list --from 200 --json"))
    .action(async (options: { from: number; kind?: string; limit: number }) => {
      const access = await context.access();
      const page = await access.client.call("listAudit", {
        query: {
          from: options.from,
          limit: options.limit,
          ...(options.kind === undefined ? {} : { kind: options.kind }),
        },
      });
      const { output } = context;
      output.answer(page, () => {
        if (page.entries.length === 0) output.line("No entries.");
        else
          output.table(
            ["seq", "at", "kind", "subject", "data"],
            page.entries.map((entry) => [
              String(entry.seq),
              entry.at,
              entry.kind,
              entry.subject.slice(0, 16),
              JSON.stringify(entry.data),
            ]),
          );
        if (page.next !== null) output.note(`\nMore: cairn audit list --from ${page.next}`);
      });
    });

  audit
    .command("anchors")
    .description("transactions that put checkpoints of the audit logs on the chain, and how deep they are")
    .option("--from <number>", "checkpoint to begin with", wholeNumber(0, Number.MAX_SAFE_INTEGER), 0)
    .addHelpText("after", examples("cairn audit anchors", "cairn audit anchors --from 200 --json"))
    .action(async ({ from }: { from: number }) => {
      const access = await context.access();
      const page = await access.client.call("listAnchors", { query: { from } });
      const { output } = context;
      output.answer(page, () => {
        if (page.anchors.length === 0) output.line("No anchors.");
        else
          output.table(
            ["checkpoint", "hash", "transaction", "state", "confirmations", "block"],
            page.anchors.map((anchor) => [
              String(anchor.sequence),
              anchor.checkpoint.slice(0, 16),
              anchor.txid,
              anchor.state,
              String(anchor.confirmations),
              anchor.blockHeight === null ? "" : String(anchor.blockHeight),
            ]),
          );
        if (page.next !== null) output.note(`\nMore: cairn audit anchors --from ${page.next}`);
      });
    });

  audit
    .command("export")
    .description("the asked node's whole audit log with checkpoints and manifests, in lines of JSON")
    .option("--output <file>", "a new file, in place of standard output")
    .addHelpText("after", examples("cairn audit export --output node-1.jsonl"))
    .action(async ({ output: file }: { output?: string }) => {
      const { client } = await context.access();
      const { stdout, sleep, signal } = context.modules;
      const pages = auditExportLines(client, (ms) => sleep(ms, signal));
      if (file === undefined) {
        for await (const lines of pages) for (const line of lines) stdout.write(`${line}\n`);
        return;
      }
      const lines = await writeLines(file, pages);
      context.output.answer({ file, lines }, () => context.output.line(`${lines} lines in ${file}.`));
    });

  audit
    .command("verify")
    .argument("<files...>", "exports; of several nodes, they are compared")
    .description(
      "verify exports offline, and name the first entry that is altered, missing or out of its place",
    )
    .option(
      "--manifest <file>",
      "the manifest that is trusted, in place of the one that the configuration pins",
    )
    .option("--anchors", "verify also the anchors on the chain: transactions, merkle proofs, block headers")
    .option(
      "--chain <url>",
      "an Esplora endpoint that says whether the anchors' blocks are in the best chain; implies --anchors",
    )
    .addHelpText(
      "after",
      examples(
        "cairn audit verify node-1.jsonl",
        "cairn audit verify node-*.jsonl --manifest manifest.cbor",
        "cairn audit verify node-1.jsonl --chain https://mempool.space/api",
      ),
    )
    .action(async (files: readonly string[], options: VerifyOptions) => {
      const trusted =
        options.manifest === undefined
          ? (await readCliConfig(context.configPath)).manifest
          : await manifestHashOf(options.manifest);
      const verified = await verifyAuditExports(files, trusted);
      const bad = verified.find(({ finding }) => finding !== null);
      if (bad?.finding != null) {
        const { node, fault, seq, line, message } = bad.finding;
        throw new CairnError("audit-broken", `${bad.file}, line ${line}: ${message}`, {
          file: bad.file,
          node,
          fault,
          seq,
          line,
        });
      }
      const wanted = options.anchors === true || options.chain !== undefined;
      const anchors = wanted ? await anchorsOf(verified, options.chain) : null;
      const { output } = context;
      output.answer({ exports: verified, ...(anchors === null ? {} : { anchors }) }, () => {
        output.table(
          ["file", "node", "entries", "co-signed", "checkpoints", "head", "lost by restores"],
          verified.map(({ file, report }) => [
            file,
            String(report?.node ?? ""),
            String(report?.length ?? ""),
            String(report?.covered ?? ""),
            String(report?.checkpoints ?? ""),
            report?.head.slice(0, 16) ?? "",
            report === null || report.lostByRestore.length === 0 ? "" : "yes",
          ]),
        );
        if (anchors === null) return;
        output.line("");
        if (anchors.length === 0) return output.line("No anchors.");
        output.table(
          ["checkpoint", "transaction", "block", "block hash", "time", "confirmations"],
          anchors.map(({ sequence, txid, block, confirmations }) => [
            String(sequence),
            txid,
            block === null ? "none yet" : String(block.height),
            block?.hash ?? "",
            block === null ? "" : new Date(block.time * 1_000).toISOString(),
            confirmations === null ? "not asked" : String(confirmations),
          ]),
        );
        if (options.chain === undefined)
          output.note(
            "\nWhether these blocks are in the best chain, --chain asks, or compare their hashes elsewhere.",
          );
      });
    });
}

interface VerifyOptions {
  readonly manifest?: string;
  readonly anchors?: true;
  readonly chain?: string;
}

/** The anchors of all exports, each once, verified. */
async function anchorsOf(
  exports: readonly VerifiedExport[],
  url: string | undefined,
): Promise<readonly VerifiedAnchor[]> {
  const network = exports[0]?.report?.network ?? null;
  if (network === null) return [];
  const chain = url === undefined ? null : new EsploraClient({ url, network }, { clock: systemClock });
  // Each export has its own proofs, and one may be older than a block.
  const found = exports.flatMap(({ report }) => report?.anchors ?? []);
  const verified = new Map<string, VerifiedAnchor>();
  for (const anchor of await verifyAnchors(found, network, chain))
    if ((verified.get(anchor.txid)?.block ?? null) === null) verified.set(anchor.txid, anchor);
  return [...verified.values()].sort((a, b) => a.sequence - b.sequence);
}

async function manifestHashOf(file: string): Promise<ManifestHash> {
  try {
    return manifestHash(decodeCanonical(signedManifestSchema, await readFile(file)).manifest);
  } catch (cause) {
    throw fileFailure(cause, file);
  }
}
