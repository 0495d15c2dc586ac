import { readFile } from "node:fs/promises";
import { type ProposalView, proposalStates } from "@cairn/client";
import {
  CairnError,
  type Change,
  type ChangeProposal,
  type Constitution,
  changeProposalHash,
  checkSupportedChange,
  type Ed25519Signer,
  encodeCanonical,
  type HashHex,
  hashHexSchema,
  loosens,
  type Manifest,
  manifestSchema,
  nodeIndexSchema,
  type Policy,
  parseShape,
  policyHash,
  policySchema,
  type SignedChangeProposal,
  signChange,
  signChangeProposal,
  type UnixMs,
  verifyChangeProposal,
} from "@cairn/core";
import { type Command, Option } from "commander";
import { changeLines, changeTerms } from "../change-text.ts";
import type { ClusterAccess } from "../cluster-access.ts";
import type { CommandContext } from "../command-context.ts";
import { parseDuration } from "../duration.ts";
import { fileFailure } from "../file-failure.ts";
import { policyFromJson } from "../policy-json.ts";
import { addKeygenOptions, type KeygenOptions, startKeygen } from "./dkg-commands.ts";
import { examples } from "./examples.ts";
import { collect, hex32, wholeNumber } from "./option-values.ts";
import { addPolicyOptions, type PolicyOptions, readPolicyOptions } from "./policy-options.ts";
import { checkProposal, printFound, printProposal } from "./proposal-text.ts";

interface ProposeOptions {
  readonly expiry: string;
  readonly yes?: true;
}

export interface LiftOptions extends ProposeOptions {
  readonly node: number;
  readonly violation?: readonly string[];
}

/** Violations that one lift may name. */
const MAX_VIOLATIONS = 64;

/** `cairn proposal`: changes of the cluster that operators decide together. */
export function addProposalCommands(program: Command, context: CommandContext): void {
  const proposal = program
    .command("proposal")
    .description("changes of policy, manifest and bans, and new keys: create, show, sign, refuse, list");
  const create = proposal
    .command("create")
    .description("propose a change to all nodes; the operator's key signs it here");

  addProposeOptions(
    addPolicyOptions(
      create
        .command("policy")
        .argument("[file]", "the whole new policy, as `cairn policy show --json` prints one")
        .description("another policy: a file, or the one in force with these rules changed"),
    ),
  )
    .addHelpText(
      "after",
      examples(
        "cairn proposal create policy --max-per-transaction 0.01",
        "cairn policy show --json > policy.json, edit it, then cairn proposal create policy policy.json",
      ),
    )
    .action(async (file: string | undefined, options: ProposeOptions & PolicyOptions) =>
      propose(context, options, async (inForce, now) => policyChange(inForce, now, file, options)),
    );

  addProposeOptions(
    create
      .command("manifest")
      .argument("<file>", "the whole new manifest, as `cairn cluster manifest --json` prints one")
      .description("other names, addresses, requesters, approvers, operators' keys, modes or delays"),
  )
    .addHelpText("after", examples("cairn proposal create manifest manifest.json"))
    .action(async (file: string, options: ProposeOptions) =>
      propose(context, options, async (inForce, now) => manifestChange(inForce, now, await readText(file))),
    );

  addLiftOptions(create.command("ban-lift").description("end a node's bans before their time"))
    .addHelpText("after", examples("cairn proposal create ban-lift --node 3"))
    .action(async (options: LiftOptions) => proposeLift(context, options));

  addKeygenOptions(
    create
      .command("keygen")
      .description("a key of all nodes and a wallet over it: the same as `cairn dkg start`"),
  )
    .addHelpText("after", examples("cairn proposal create keygen --protocol frost"))
    .action(async (options: KeygenOptions) => startKeygen(context, options));

  proposal
    .command("show")
    .argument("<proposal>", "id of a proposal, or its first digits")
    .description("exactly what a proposal changes, computed here, and who has said what of it")
    .addHelpText("after", examples("cairn proposal show 3f9a0c1d"))
    .action(async (named: string) => {
      const access = await context.access();
      await printFound(context, access, await find(access, named));
    });

  proposal
    .command("sign")
    .argument("<proposal>", "id of a proposal, or its first digits")
    .description(
      "show exactly what it changes, sign that with the operator's key, and have the operator's node approve it",
    )
    .option("-y, --yes", "do not ask before signing")
    .addHelpText("after", examples("cairn proposal sign 3f9a0c1d"))
    .action(async (named: string, options: { yes?: true }) => {
      const access = await context.access();
      const inForce = await access.constitution();
      const operator = await access.operator();
      const view = await find(access, named);
      if (view.type === "keygen") {
        throw new CairnError(
          "wrong-state",
          "nodes approve a key by themselves once one operator has signed its request; `cairn proposal refuse` stops it",
          { proposal: view.proposal },
        );
      }
      const signed = checkProposal(view);
      verifyChangeProposal(signed, inForce);
      checkSupportedChange(signed.body.change, inForce);
      await confirmed(context, signed.body.change, inForce, options);
      printProposal(context, await signAt(access, signed, operator, inForce), signed, inForce);
    });

  proposal
    .command("refuse")
    .argument("<proposal>", "id of a proposal, or its first digits")
    .description("have the asked node refuse it, for good")
    .addHelpText("after", examples("cairn proposal refuse 3f9a0c1d"))
    .action(async (named: string) => {
      const access = await context.access();
      const { proposal: id } = await find(access, named);
      const view = await access.client.call("refuseProposal", { params: { proposal: id } });
      await printFound(context, access, view);
    });

  proposal
    .command("list")
    .description("proposals, newest first")
    .addOption(new Option("--state <state>", "only in this state").choices(proposalStates))
    .option("--limit <number>", "how many, at most 200", wholeNumber(1, 200), 20)
    .addHelpText("after", examples("cairn proposal list", "cairn proposal list --state open"))
    .action(async (options: { state?: ProposalView["state"]; limit: number }) => {
      const access = await context.access();
      const { limit, state } = options;
      const list = await access.client.call("listProposals", {
        query: { limit, ...(state === undefined ? {} : { state }) },
      });
      const { output } = context;
      output.answer(list, () => {
        if (list.proposals.length === 0) return output.line("No proposals.");
        output.table(
          ["created", "proposal", "type", "state", "mode", "approved", "refused", "expires", "effect"],
          list.proposals.map((view) => [
            view.createdAt.slice(0, 19).replace("T", " "),
            view.proposal.slice(0, 16),
            view.type,
            view.state,
            view.mode,
            `${view.votes.filter(({ approve }) => approve).length}/${view.needed}`,
            String(view.votes.filter(({ approve }) => !approve).length),
            view.expiry.slice(0, 19).replace("T", " "),
            view.effectiveAt?.slice(0, 19).replace("T", " ") ?? "",
          ]),
        );
      });
    });
}

export function addLiftOptions(command: Command): Command {
  return addProposeOptions(
    command
      .requiredOption("--node <index>", "the banned node", wholeNumber(1, 255))
      .option("--violation <violation>", "only the ban for this one; repeat for several", collect),
  );
}

/** Proposes to lift bans of a node: those that the asked nodes know to be in force, unless some are named. */
export async function proposeLift(context: CommandContext, options: LiftOptions): Promise<void> {
  const node = parseShape(nodeIndexSchema, options.node);
  await propose(context, options, async (inForce, now, access) => {
    const named = options.violation?.map((text) => hex32(text, "a violation"));
    const found = named ?? (await bansOf(access, node));
    if (found.length === 0) {
      throw new CairnError("not-found", "no asked node has a ban in force for that node", { node });
    }
    const { manifest, manifestHash } = inForce;
    return {
      type: "ban-lift",
      lift: {
        version: 1,
        cluster: manifest.cluster,
        manifestHash,
        node,
        violations: [...new Set(found)]
          .slice(0, MAX_VIOLATIONS)
          .map((text) => parseShape(hashHexSchema, text)),
        createdAt: now,
        effectiveAt: later(now, manifest.changeDelayMs),
      },
    };
  });
}

/** Each node knows bans of its own beside those of all. */
async function bansOf(access: ClusterAccess, node: number): Promise<readonly string[]> {
  const lists = await Promise.all(access.clients().map(({ client }) => client.call("listBans", {})));
  return lists.flatMap(({ bans }) =>
    bans.filter((ban) => ban.node === node && ban.inForce).map(({ violation }) => violation),
  );
}

function addProposeOptions(command: Command): Command {
  return command
    .option("--expiry <time>", "how long nodes may vote: 30m, 2h, at most 7d", "1d")
    .option("-y, --yes", "do not ask before signing");
}

async function propose(
  context: CommandContext,
  options: ProposeOptions,
  make: (inForce: Constitution, now: UnixMs, access: ClusterAccess) => Promise<Change>,
): Promise<void> {
  const lifeMs = parseDuration(options.expiry);
  const access = await context.access();
  const inForce = await access.constitution();
  const operator = await access.operator();
  const now = context.modules.clock.now();
  const change = await make(inForce, now, access);
  const body: ChangeProposal = {
    version: 1,
    cluster: inForce.manifest.cluster,
    manifestHash: inForce.manifestHash,
    change,
    createdAt: now,
    expiry: later(now, lifeMs),
    operator: operator.publicKey,
  };
  const signed = signChangeProposal(body, operator);
  checkSupportedChange(change, inForce);
  verifyChangeProposal(signed, inForce);
  await confirmed(context, change, inForce, options);
  await access.client.call("createProposal", {
    body: { proposal: Buffer.from(encodeCanonical(signed)).toString("base64") },
    idempotencyKey: changeProposalHash(body),
  });
  printProposal(context, await signAt(access, signed, operator, inForce), signed, inForce);
  context.output.note(`\nEvery other operator: cairn proposal sign ${changeProposalHash(body).slice(0, 16)}`);
}

async function policyChange(
  inForce: Constitution,
  now: UnixMs,
  file: string | undefined,
  options: PolicyOptions,
): Promise<Change> {
  const base = file === undefined ? inForce.policy : policyFromJson(await readText(file));
  const policy: Policy = parseShape(policySchema, {
    ...base,
    ...readPolicyOptions(options),
    policyVersion: inForce.policy.policyVersion + 1,
  });
  const next = {
    ...inForce.manifest,
    policy: policyHash(policy),
    policyVersion: policy.policyVersion,
    policyDelayMs: policy.delayMs,
  };
  return successor(inForce, next, policy, now);
}

async function manifestChange(inForce: Constitution, now: UnixMs, text: string): Promise<Change> {
  const raw = parseJson(text);
  const next = parseShape(manifestSchema, "manifest" in raw ? raw.manifest : raw);
  const { policy, policyVersion, policyDelayMs } = inForce.manifest;
  if (
    next.policy !== policy ||
    next.policyVersion !== policyVersion ||
    next.policyDelayMs !== policyDelayMs
  ) {
    throw new CairnError(
      "wrong-policy",
      "the file names another policy than the one in force; change it with `cairn proposal create policy`",
    );
  }
  return successor(inForce, next, null, now);
}

function successor(inForce: Constitution, edited: Manifest, policy: Policy | null, now: UnixMs): Change {
  const { manifest, manifestHash } = inForce;
  const next: Manifest = {
    ...edited,
    sequence: manifest.sequence + 1,
    previous: manifestHash,
    createdAt: now,
    effectiveAt: now,
  };
  const policies = { current: inForce.policy, next: policy ?? inForce.policy };
  const delayMs = loosens(manifest, next, policies) ? manifest.changeDelayMs : 0;
  return { type: "manifest", manifest: { ...next, effectiveAt: later(now, delayMs) }, policy };
}

/** Has the operator's own node approve; where it is not among the asked ones, that is still to be done. */
async function signAt(
  access: ClusterAccess,
  signed: SignedChangeProposal,
  operator: Ed25519Signer,
  { manifest }: Constitution,
): Promise<ProposalView> {
  const own = manifest.members.find((member) => member.operator === operator.publicKey);
  const proposal = changeProposalHash(signed.body);
  for (const { client } of access.clients()) {
    const node = await client.call("getClusterStatus", {}).then(
      (status) => status.node,
      () => null,
    );
    if (node === null || node !== own?.index) continue;
    const signature = signChange(signed.body.change, operator);
    return client.call("signProposal", { params: { proposal }, body: { signature } });
  }
  throw new CairnError(
    "not-member",
    "the operator's own node is not among the asked ones, or does not answer; sign with `cairn proposal sign` and --endpoint URL of that node",
    { node: own?.index ?? null, proposal },
  );
}

async function confirmed(
  { modules, output }: CommandContext,
  change: Change,
  inForce: Constitution,
  options: { readonly yes?: true },
): Promise<void> {
  const lines = changeLines(change, inForce).map(({ field, from, to }) => `  ${field}: ${from} → ${to}`);
  const terms = changeTerms(change, inForce).map(([name, value]) => `  ${name}: ${value}`);
  output.note(["Signing this change:", ...lines, ...terms].join("\n"));
  if (options.yes === true || output.json || modules.confirm === null) return;
  if (!(await modules.confirm("Sign exactly this?")))
    throw new CairnError("closed", "nothing was signed and nothing was sent");
}

async function find(access: ClusterAccess, named: string): Promise<ProposalView> {
  if (/^[0-9a-f]{64}$/.test(named))
    return access.client.call("getProposal", { params: { proposal: named as HashHex } });
  const { proposals } = await access.client.call("listProposals", { query: { limit: 200 } });
  const matches = proposals.filter(({ proposal }) => named.length >= 8 && proposal.startsWith(named));
  const [only] = matches;
  if (only !== undefined && matches.length === 1) return only;
  throw new CairnError(
    "not-found",
    "the node knows no one proposal that begins so; `cairn proposal list` shows them (at least 8 digits)",
  );
}

function later(time: UnixMs, ms: number): UnixMs {
  return (time + ms) as UnixMs;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw fileFailure(cause, file);
  }
}

function parseJson(text: string): Record<string, unknown> {
  try {
    const raw: unknown = JSON.parse(text);
    if (typeof raw === "object" && raw !== null) return { ...raw };
  } catch (cause) {
    throw new CairnError(
      "malformed",
      "the manifest is not JSON; `cairn cluster manifest --json` prints one",
      {},
      { cause },
    );
  }
  throw new CairnError(
    "malformed",
    "the manifest is no JSON object; `cairn cluster manifest --json` prints one",
  );
}
