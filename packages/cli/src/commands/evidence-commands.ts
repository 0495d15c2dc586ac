import { readFile } from "node:fs/promises";
import { offenceOf } from "@cairn/consensus";
import { type Manifest, manifestFingerprint, manifestHash } from "@cairn/core";
import type { Command } from "commander";
import type { CommandContext } from "../command-context.ts";
import { fileFailure } from "../file-failure.ts";
import { judgeOffline, type Proof } from "../judge-offline.ts";
import { MANIFEST_FILE_HELP, readManifestFile } from "../read-manifest-file.ts";
import { examples } from "./examples.ts";
import { exportEvidence } from "./export-evidence.ts";

/** `cairn evidence`: proofs of nodes' faults, judged without asking anybody. */
export function addEvidenceCommands(program: Command, context: CommandContext): void {
  const evidence = program.command("evidence").description("proofs of nodes' faults: export, verify");
  evidence
    .command("export")
    .argument(
      "<violation>",
      "id of a violation, as entries of the kind `violation` in `cairn audit list` name it",
    )
    .argument("<file>", "a new file")
    .description(
      "write the evidence of a fault on record at the asked node to a file; also of faults that do not ban, such as a rollback",
    )
    .addHelpText("after", examples(`cairn evidence export ${"0c99c09d".repeat(8)} rollback.evidence`))
    .action(async (violation: string, file: string) => {
      const access = await context.access();
      const found = await access.client.call("getViolation", { params: { violation } });
      await exportEvidence(found.evidence === null ? null : Buffer.from(found.evidence, "base64"), file);
      const { type, node } = found;
      context.output.answer({ file, violation, type, node }, () =>
        context.output.line(`${type} of node ${node} in ${file}.`),
      );
    });

  evidence
    .command("verify")
    .argument("<file>", "evidence, as `cairn cluster bans explain --export` writes it")
    .description("judges evidence offline: exit code 0 if it proves what it says, 1 if it proves nothing")
    .requiredOption("--manifest <file>", `the manifest that the evidence names: ${MANIFEST_FILE_HELP}`)
    .addHelpText(
      "after",
      examples(
        "cairn evidence verify double-vote.evidence --manifest manifest.cbor",
        "cairn evidence verify double-vote.evidence --manifest manifest.cbor --json",
      ),
    )
    .action(async (file: string, options: { manifest: string }) => {
      const manifest = await readManifestFile(options.manifest);
      const hash = manifestHash(manifest);
      const proof = judgeOffline(await read(file), { manifest, manifestHash: hash });
      const { output } = context;
      output.answer({ verdict: "proven", ...proofView(proof, manifest) }, () => {
        output.facts(proofFacts(proof, manifest));
        output.note(
          `\nProven to whoever trusts the manifest ${manifestFingerprint(hash)}: compare it with the operators.`,
        );
      });
    });
}

/** A proof as programs read it. */
export function proofView({ evidence, type, node }: Proof, manifest: Manifest) {
  const { id, subject } = offenceOf(evidence);
  return {
    type,
    node,
    name: manifest.members.find(({ index }) => index === node)?.name ?? null,
    violation: id,
    subject,
    cluster: manifest.cluster,
    manifest: evidence.manifestHash,
  };
}

/** A proof as people read it. */
export function proofFacts(proof: Proof, manifest: Manifest): readonly (readonly [string, string])[] {
  const view = proofView(proof, manifest);
  return [
    ["proven", `node ${view.node} (${view.name ?? "?"}): ${meanings[proof.evidence.type]}`],
    ["type", view.type],
    ["violation", view.violation],
    ...(view.subject === null ? [] : [["about", view.subject] as const]),
    ["cluster", view.cluster],
  ];
}

const meanings: Record<Proof["evidence"]["type"], string> = {
  DoubleVote: "it signed two different votes for one intent and round",
  MinorityVote: "it approved an intent that every honest node finds faulty",
  Equivocation: "it signed two different broadcasts of one round of a protocol",
  InvalidPartial: "it signed a partial signature that fails against the public data that it signed before",
  Rollback: "it was set back: it signed how far it was, and later, with that in view, that it is not so far",
  FalseAccusation: "it signed an accusation whose evidence proves nothing",
};

async function read(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw fileFailure(cause, path);
  }
}
