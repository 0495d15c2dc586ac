import type { CallOutput } from "@cairn/client";
import { CairnError, type Manifest, manifestHash } from "@cairn/core";
import type { Command } from "commander";
import type { CommandContext } from "../command-context.ts";
import { judgeOffline, type Proof } from "../judge-offline.ts";
import { proofFacts, proofView } from "./evidence-commands.ts";
import { examples } from "./examples.ts";
import { exportEvidence } from "./export-evidence.ts";
import { addLiftOptions, type LiftOptions, proposeLift } from "./proposal-commands.ts";

type Ban = CallOutput<"listBans">["bans"][number];

/** `cairn cluster bans`. */
export function addBansCommands(cluster: Command, context: CommandContext): void {
  const bans = cluster.command("bans").description("nodes that are kept out, and why: list, explain, lift");

  bans
    .command("list")
    .description("every ban that the asked node knows of, those that have ended too")
    .addHelpText("after", examples("cairn cluster bans list", "cairn cluster bans list --json"))
    .action(async () => {
      const access = await context.access();
      const { manifest } = await access.signedManifest();
      const answer = await access.client.call("listBans", {});
      const { output } = context;
      output.answer(answer, () => {
        if (answer.bans.length === 0) return output.line("No node was ever banned.");
        output.table(
          ["node", "state", "by", "from", "until", "violation"],
          answer.bans.map((ban) => [
            `${ban.node} ${nameOf(manifest, ban.node)}`,
            ban.inForce ? "banned" : ban.liftedAt === null ? "ended" : "lifted",
            ban.scope === "cluster" ? "all, with proof" : "the asked node alone",
            ban.from,
            ban.until ?? "for good",
            ban.violation,
          ]),
        );
      });
    });

  addLiftOptions(
    bans.command("lift").description("propose to end a node's bans before their time; operators decide"),
  )
    .addHelpText("after", examples("cairn cluster bans lift --node 3"))
    .action(async (options: LiftOptions) => proposeLift(context, options));

  bans
    .command("explain")
    .argument(
      "<violation>",
      "violation of the ban, as `cairn cluster bans list` shows it, or its first digits",
    )
    .description("why a node is banned: the evidence, judged here and not by the node")
    .option("--export <file>", "write the evidence to a file, for `cairn evidence verify`")
    .addHelpText(
      "after",
      examples(
        "cairn cluster bans explain 0c99c09d",
        "cairn cluster bans explain 0c99c09d --export double-vote.evidence",
      ),
    )
    .action(async (named: string, options: { export?: string }) => {
      const access = await context.access();
      const { manifest } = await access.signedManifest();
      const ban = selectBan((await access.client.call("listBans", {})).bans, named);
      const found = await access.client.call("getViolation", { params: { violation: ban.violation } });
      const bytes = found.evidence === null ? null : Buffer.from(found.evidence, "base64");
      // First, since evidence that names another manifest is judged with that one, by `cairn evidence verify`.
      if (options.export !== undefined) await exportEvidence(bytes, options.export);
      const proof = bytes === null ? null : judged(bytes, manifest, ban);
      const { output } = context;
      const document = { ban, type: found.type, detectedAt: found.detectedAt, action: found.action };
      output.answer({ ...document, proof: proof === null ? null : proofView(proof, manifest) }, () => {
        if (proof !== null) output.facts(proofFacts(proof, manifest));
        else
          output.facts([
            [
              "seen by the asked node alone",
              `node ${ban.node} (${nameOf(manifest, ban.node)}): ${found.type}`,
            ],
            ["about", found.subject ?? ""],
          ]);
        output.facts([
          ["detected", found.detectedAt],
          ["banned", `${ban.from} until ${ban.until ?? "operators lift it"}`],
        ]);
      });
    });
}

function nameOf(manifest: Manifest, node: number): string {
  return manifest.members.find(({ index }) => index === node)?.name ?? "";
}

/** @throws CairnError `not-found`, `malformed` where several begin so */
function selectBan(bans: readonly Ban[], named: string): Ban {
  const matches = bans.filter(({ violation }) => named.length >= 8 && violation.startsWith(named));
  const [first] = matches;
  if (first === undefined) {
    throw new CairnError(
      "not-found",
      "the asked node knows of no ban for that violation; `cairn cluster bans list` names them (at least 8 digits)",
    );
  }
  if (matches.some(({ violation }) => violation !== first.violation)) {
    throw new CairnError("malformed", "several violations begin so; give more digits");
  }
  return first;
}

/** @throws CairnError `peer-disagrees` where the evidence does not prove what the node bans for */
function judged(bytes: Uint8Array, manifest: Manifest, ban: Ban): Proof {
  const proof = judgeOffline(bytes, { manifest, manifestHash: manifestHash(manifest) });
  if (proof.node === ban.node && proofView(proof, manifest).violation === ban.violation) return proof;
  throw new CairnError(
    "peer-disagrees",
    "the node's evidence is about another fault than its ban; ask another node with --endpoint URL and tell the operators",
    { node: ban.node, violation: ban.violation },
  );
}
