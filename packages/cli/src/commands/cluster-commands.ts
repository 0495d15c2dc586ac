import type { ClusterStatus } from "@cairn/client";
import { CairnError, isCairnError, manifestFingerprint, manifestHash } from "@cairn/core";
import type { Command } from "commander";
import type { CliConfig } from "../cli-config.ts";
import type { ClusterAccess } from "../cluster-access.ts";
import type { CommandContext } from "../command-context.ts";
import { trustedHistory } from "../trusted-history.ts";
import { addAlertsCommand } from "./alerts-command.ts";
import { addBansCommands } from "./bans-commands.ts";
import { examples } from "./examples.ts";

type Answer =
  | { readonly endpoint: string; readonly status: ClusterStatus; readonly error: null }
  | { readonly endpoint: string; readonly status: null; readonly error: CairnError };

/** `cairn cluster`: nodes and what they agree on. */
export function addClusterCommands(program: Command, context: CommandContext): void {
  const cluster = program
    .command("cluster")
    .description("the cluster: status, nodes, alerts, manifest, bans");

  cluster
    .command("status")
    .description("asks every configured node, and says which are down and which disagree")
    .addHelpText("after", examples("cairn cluster status", "cairn cluster status --json"))
    .action(async () => {
      const access = await context.access();
      const answers = await Promise.all(
        access.clients().map(async ({ endpoint, client }): Promise<Answer> => {
          try {
            return { endpoint, status: await client.call("getClusterStatus", {}), error: null };
          } catch (error) {
            if (!isCairnError(error)) throw error;
            return { endpoint, status: null, error };
          }
        }),
      );
      const [first] = answers.flatMap(({ error }) => (error === null ? [] : [error]));
      const down = answers.every(({ status }) => status === null);
      // Where no node gives an answer, the first one's reason is the answer.
      if (down && first !== undefined) throw first;
      const { output } = context;
      const pinned = await inForce(access);
      const document = {
        cluster: pinned.cluster,
        manifest: pinned.manifest,
        canSign: answers.some(({ status }) => status?.canSign === true),
        nodes: answers.map((answer) =>
          answer.status === null
            ? {
                endpoint: answer.endpoint,
                state: "down",
                error: answer.error.code,
                detail: answer.error.message,
              }
            : {
                endpoint: answer.endpoint,
                state: agrees(answer.status, pinned) ? "agrees" : "disagrees",
                status: answer.status,
              },
        ),
      };
      output.answer(document, () => {
        output.facts([
          ["cluster", pinned.cluster],
          ["manifest", manifestFingerprint(pinned.manifest)],
          ["can sign", document.canSign ? "yes" : "no"],
          ...coordinationLine(answers),
        ]);
        output.line("");
        output.table(
          ["node", "endpoint", "state", "up", "can sign", "keys", "tip", "primes"],
          answers.map((answer) => statusRow(answer, pinned)),
        );
        for (const { status } of answers)
          if (status !== null) for (const note of syncNotes(status)) output.note(note);
        for (const { endpoint, status, error } of answers) {
          if (error !== null) output.note(`${endpoint} gives no answer: ${error.message}`);
          else if (!agrees(status, pinned)) {
            output.note(
              `${endpoint} has another manifest in force (${manifestFingerprintOf(status)}) than the pinned one: compare fingerprints with the other operators before you believe either`,
            );
          }
        }
      });
    });

  cluster
    .command("nodes")
    .description("the members, as one node sees them")
    .addHelpText(
      "after",
      examples("cairn cluster nodes", "cairn cluster nodes --endpoint http://127.0.0.1:8082"),
    )
    .action(async () => {
      const access = await context.access();
      const { manifest } = await access.signedManifest();
      const { nodes } = await access.client.call("listNodes", {});
      const stranger = nodes.find(({ index, name }) => manifest.members[index - 1]?.name !== name);
      if (stranger !== undefined || nodes.length !== manifest.members.length) {
        throw new CairnError(
          "peer-disagrees",
          "the node lists other members than the manifest; ask another node with --endpoint URL",
        );
      }
      const { output } = context;
      output.answer({ nodes }, () =>
        output.table(
          ["node", "name", "state", "round trip", "version", "epoch", "last seen", "api", "note"],
          nodes.map((node) => [
            String(node.index),
            node.name + (node.self ? " (asked)" : ""),
            node.banned ? "banned" : node.up ? "up" : "down",
            node.roundTripMs === null ? "" : `${node.roundTripMs.toFixed(1)} ms`,
            node.protocolVersion === null ? "" : String(node.protocolVersion),
            node.epoch === null ? "" : String(node.epoch),
            node.lastSeen ?? "never",
            node.api ?? "",
            node.banned ? `until ${node.bannedUntil ?? "an operator lifts it"}` : (node.lastError ?? ""),
          ]),
        ),
      );
    });

  cluster
    .command("manifest")
    .description("the manifest in force, checked against the pinned hash")
    .addHelpText("after", examples("cairn cluster manifest", "cairn cluster manifest --json > manifest.json"))
    .action(async () => {
      const access = await context.access();
      const { manifest, signatures } = await access.signedManifest();
      const hash = manifestHash(manifest);
      const { output } = context;
      output.answer({ hash, fingerprint: manifestFingerprint(hash), manifest, signatures }, () => {
        output.facts([
          ["fingerprint", manifestFingerprint(hash)],
          ["cluster", manifest.cluster],
          ["number", String(manifest.sequence)],
          ["network", manifest.network],
          ["threshold", `${manifest.threshold} of ${manifest.members.length}`],
          ["authorisation", manifest.authorisation],
          ["policy", `version ${manifest.policyVersion}, ${manifest.policy}`],
          ["delay", `${manifest.policyDelayMs / 1000} s`],
          ["CA", manifest.caFingerprint],
          ["requesters", manifest.requesters.map((key) => key.slice(0, 16)).join(", ")],
          ["approvers", manifest.approvers.map((key) => key.slice(0, 16)).join(", ") || "none"],
          ["unsigned requests", manifest.unsignedRequests ? "accepted" : "refused"],
          ["checkpoint anchors", manifest.checkpointAnchors ? "on" : "off"],
          ["signed by", `${signatures.length} operators`],
        ]);
        output.line("");
        output.table(
          ["node", "name", "identity", "operator", "peers", "api"],
          manifest.members.map((member) => [
            String(member.index),
            member.name,
            member.identity.slice(0, 16),
            member.operator.slice(0, 16),
            member.addresses.join(" "),
            member.api ?? "",
          ]),
        );
      });
    });

  addAlertsCommand(cluster, context);
  addBansCommands(cluster, context);
}

/** What the nodes coordinate through, where there is something, and how many of them reach it. */
function coordinationLine(answers: readonly Answer[]): readonly (readonly [string, string])[] {
  const using = answers.flatMap(({ status }) =>
    status === null || status.coordination.type === "none" ? [] : [status.coordination],
  );
  const [first] = using;
  if (first === undefined) return [];
  const reached = using.filter(({ state }) => state === "ok").length;
  return [["coordination", `${first.type}: ${reached} of ${using.length} nodes reach it`]];
}

type Pinned = Pick<CliConfig, "cluster" | "manifest">;

/** The hash to compare nodes with: of what is in force since operators have changed the pinned manifest, where any node tells. */
async function inForce(access: ClusterAccess): Promise<Pinned> {
  const { cluster, manifest } = access.config;
  for (const { client } of access.clients()) {
    try {
      const { manifestHash } = await trustedHistory(client, access.config);
      return { cluster, manifest: manifestHash };
    } catch (error) {
      if (!isCairnError(error)) throw error;
    }
  }
  return { cluster, manifest };
}

function agrees(status: ClusterStatus, config: Pinned): boolean {
  return status.cluster === config.cluster && status.manifest.hash === config.manifest;
}

function manifestFingerprintOf(status: ClusterStatus): string {
  return status.manifest.hash.match(/.{8}/g)?.join(" ") ?? status.manifest.hash;
}

/** What follows from the loss of a node's database, and with which peers it does not agree yet. */
function syncNotes({ node, sync }: ClusterStatus): string[] {
  const notes: string[] = [];
  const { abstains, heard, needed, forgottenUntil, peers } = sync;
  if (abstains)
    notes.push(
      `node ${node} lost its database and takes part in nothing yet: ${heard.length} of ${needed} peers have told it what they hold`,
    );
  else if (forgottenUntil !== null)
    notes.push(
      `node ${node} lost its database: it takes no part in requests that expire until ${forgottenUntil}`,
    );
  for (const peer of peers) {
    if (peer.state === "failed")
      notes.push(
        `node ${node} could not learn all from node ${peer.node} (${peer.reason}): ${peer.refused} records refused, ${peer.withheld} not handed over; it asks again`,
      );
  }
  return notes;
}

function statusRow({ endpoint, status, error }: Answer, config: Pinned): string[] {
  if (status === null) return ["", endpoint, "down", "", "", "", "", error.code];
  return [
    String(status.node),
    endpoint,
    agrees(status, config) ? "agrees" : "disagrees",
    `${status.up}/${status.total}`,
    status.canSign ? "yes" : "no",
    keysText(status),
    status.tipHeight === null ? "none" : String(status.tipHeight),
    `${status.primes.ready}/${status.primes.target}${status.primes.generating ? " …" : ""}`,
  ];
}

/** E.g. `2 +1 (1 without backups)`. */
function keysText({ keys: { active, generating, unbacked } }: ClusterStatus): string {
  const made = generating > 0 ? ` +${generating}` : "";
  return `${active}${made}${unbacked > 0 ? ` (${unbacked} without backups)` : ""}`;
}
