import { spendRequestText } from "@cairn/client";
import {
  CairnError,
  parseShape,
  type SignedSpendApproval,
  signSpendApproval,
  spendRequestHash,
  unixMsSchema,
} from "@cairn/core";
import type { Command } from "commander";
import { checkSpendAnswer } from "../check-spend-answer.ts";
import type { CommandContext } from "../command-context.ts";
import { parseDuration } from "../duration.ts";
import { requestText } from "../request-text.ts";
import { trustedRequest } from "../trusted-request.ts";
import { selectWallet } from "../trusted-wallet.ts";
import { examples } from "./examples.ts";
import { hex32 } from "./option-values.ts";
import { approvalsText, outcomeOf, printTransaction } from "./transaction-text.ts";

interface ApproveOptions {
  readonly key?: string;
  readonly expiry?: string;
  readonly yes?: true;
}

/** `cairn tx approve`: a person's consent to one request, where policy asks for it. */
export function addApproveCommand(tx: Command, context: CommandContext): void {
  tx.command("approve")
    .argument("<request>", "hash of the request or of its intent, or the transaction id")
    .description("show what a request asks for, and sign the approver's consent to exactly this")
    .option("--key <file>", "the approver's key, in place of approver_key of the configuration")
    .option("--expiry <time>", "how long the approval counts: 30m, 2h; as long as the request by itself")
    .option("-y, --yes", "do not ask before signing")
    .addHelpText(
      "after",
      examples("cairn tx approve REQUEST", "cairn tx approve REQUEST --key ann.pem --expiry 2h --yes --json"),
    )
    .action(async (text: string, options: ApproveOptions) => approve(context, text, options));
}

async function approve(context: CommandContext, text: string, options: ApproveOptions): Promise<void> {
  const { output, modules } = context;
  const id = hex32(text, "the hash of a request or intent, or a transaction id");
  const lifeMs = options.expiry === undefined ? null : parseDuration(options.expiry);
  const access = await context.access();
  const { manifest } = await access.signedManifest();
  const { request, transaction } = await trustedRequest(access.client, manifest, id);
  const wallet = selectWallet(await access.wallets(), request.wallet);
  const approver = await access.approver(options.key);
  const { publicKey } = approver;
  const { approvals } = transaction;
  if (!manifest.approvers.includes(publicKey)) {
    throw new CairnError("unknown-approver", "the key is not one of the manifest's approvers", {
      approver: publicKey,
    });
  }
  if (approvals === null || ![...approvals.given, ...approvals.missing].includes(publicKey)) {
    throw new CairnError("wrong-state", "policy does not ask for this key's approval of the request", {
      state: transaction.state,
    });
  }
  if (outcomeOf(transaction) !== "open") {
    throw new CairnError("wrong-state", `nothing is left to approve: it is ${transaction.state}`, {
      state: transaction.state,
    });
  }
  const now = modules.clock.now();
  if (request.expiry <= now) {
    throw new CairnError("expired", "the request has expired; its owner must sign a new one", {
      expiry: request.expiry,
    });
  }
  const expiry = lifeMs === null ? request.expiry : Math.min(now + lifeMs, request.expiry);
  const lines = [
    ...requestText(request, wallet),
    `  asked for by ${request.requester}`,
    `  state ${transaction.state}; approvals: ${approvalsText(approvals)}`,
    `  the approval counts until ${new Date(expiry).toISOString()}`,
  ];
  output.note(`Approving, ${lines.join("\n")}`);
  if (options.yes !== true && !output.json && modules.confirm !== null) {
    if (!(await modules.confirm("Approve exactly this?"))) {
      throw new CairnError("closed", "nothing was signed and nothing was sent");
    }
  }
  const signed: SignedSpendApproval = signSpendApproval(
    {
      version: 1,
      cluster: manifest.cluster,
      requestHash: spendRequestHash(request),
      approver: publicKey,
      createdAt: now,
      expiry: parseShape(unixMsSchema, expiry),
    },
    approver,
  );
  const receipt = await access.client.call("approveRequest", { body: signed });
  if (receipt.transaction !== null) checkSpendAnswer(receipt.transaction, request);
  output.answer({ ...receipt, approved: spendRequestText(request) }, () =>
    printTransaction(output, receipt.transaction ?? transaction),
  );
}
