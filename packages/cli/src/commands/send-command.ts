import { spendRequestToJson } from "@cairn/client";
import {
  CairnError,
  type Ed25519Signer,
  MAX_REQUEST_LIFETIME_MS,
  type Manifest,
  nonceSchema,
  parseShape,
  requestHashSchema,
  type SignedSpendRequest,
  type SpendOutput,
  type SpendRequest,
  satsSchema,
  signBody,
  spendRequestHash,
  spendRequestSchema,
  toHex,
  transactionStates,
} from "@cairn/core";
import { type Command, Option } from "commander";
import { parseAmount } from "../amount.ts";
import { checkSignedTransaction, checkSpendAnswer } from "../check-spend-answer.ts";
import type { CommandContext } from "../command-context.ts";
import { parseDuration } from "../duration.ts";
import { parseFeeRate } from "../fee-rate-text.ts";
import { readRecipients } from "../recipients.ts";
import { requestText } from "../request-text.ts";
import type { TrustedWallet } from "../trusted-wallet.ts";
import { examples } from "./examples.ts";
import { collect, hex32 } from "./option-values.ts";
import { outcomeOf, printTransaction } from "./transaction-text.ts";
import { transactionFailure, watchTransaction } from "./watch-transaction.ts";

interface SendOptions {
  readonly to: readonly string[];
  readonly amount: readonly string[];
  readonly maxFee: string;
  readonly feeRate?: string;
  readonly wallet?: string;
  readonly expiry: string;
  readonly replaces?: string;
  readonly yes?: true;
  /** True without a state. */
  readonly wait?: true | string;
  readonly timeout?: string;
}

const waitable = transactionStates.filter(
  (state) => state === "approved" || state === "signed" || state === "broadcasting" || state === "confirmed",
);

/** `cairn send`: the one command that asks for a spend. */
export function addSendCommand(program: Command, context: CommandContext): void {
  program
    .command("send")
    .description("pay one or several addresses with a request that the requester's key signs here")
    .requiredOption("--to <address>", "recipient; repeat for several", collect)
    .requiredOption("--amount <amount>", "150000 (satoshi), 0.0015 or 0.0015btc; one for each --to", collect)
    .option("--max-fee <amount>", "the most that miners may get", "50000")
    .option("--fee-rate <sat/vB>", "fee rate; the node estimates one where none is given")
    .option("--wallet <wallet>", "id, its first digits, or label; may be left out where there is only one")
    .option("--expiry <time>", "how long nodes may vote and sign: 90s, 30m, 2h, at most 7d", "1h")
    .option("--replaces <request>", "hash of the request that this one replaces; at most one of both is paid")
    .addOption(
      new Option("--wait [state]", "follow it until it is confirmed, or until another state").choices(
        waitable,
      ),
    )
    .option("--timeout <time>", "give up waiting after this time; the payment goes on")
    .option("-y, --yes", "do not ask before signing")
    .addHelpText(
      "after",
      examples(
        "cairn send --to bc1q… --amount 0.0015",
        "cairn send --to bc1q… --amount 150000 --to bc1p… --amount 20000 --max-fee 5000 --wait",
        "cairn send --to bc1q… --amount 150000 --fee-rate 12.5 --yes --json",
      ),
    )
    .action(async (options: SendOptions) => send(context, options));
}

async function send(context: CommandContext, options: SendOptions): Promise<void> {
  const { output, modules } = context;
  const timeoutMs = options.timeout === undefined ? null : parseDuration(options.timeout);
  const until = waitable.find((state) => state === options.wait) ?? "confirmed";
  const access = await context.access();
  const { manifest } = await access.signedManifest();
  const outputs = readRecipients(options.to, options.amount, manifest.network);
  const wallet = await access.wallet(options.wallet);
  const requester = await access.requester();
  const request = makeRequest(options, { manifest, outputs, wallet, requester, modules });

  output.note(`Signing, ${requestText(request, wallet).join("\n")}`);
  if (options.yes !== true && !output.json && modules.confirm !== null) {
    if (!(await modules.confirm("Sign this request?"))) {
      throw new CairnError("closed", "nothing was signed and nothing was sent");
    }
  }
  const signed: SignedSpendRequest = signBody("cairn/spend-request/v1", request, requester);
  const answer = await access.client.call("createTransaction", {
    body: spendRequestToJson(signed),
    idempotencyKey: spendRequestHash(request),
  });
  checkSpendAnswer(answer, request);
  if (options.wait === undefined) {
    output.answer(answer, () => {
      printTransaction(output, answer);
      output.note(`\nFollow it with: cairn tx status ${answer.txid} --watch`);
    });
    return;
  }
  const detail = await watchTransaction(context, access, {
    txid: answer.txid,
    until,
    timeoutMs,
    check: (reading) => {
      checkSpendAnswer(reading, request);
      checkSignedTransaction(reading, request, wallet);
    },
  });
  if (outcomeOf(detail) === "ended") throw transactionFailure(detail);
  output.answer(detail, () => printTransaction(output, detail));
}

/** What is typed, as the request that will be signed. */
function makeRequest(
  options: SendOptions,
  facts: {
    readonly manifest: Manifest;
    readonly outputs: readonly SpendOutput[];
    readonly wallet: TrustedWallet;
    readonly requester: Ed25519Signer;
    readonly modules: Pick<CommandContext["modules"], "clock" | "random">;
  },
): SpendRequest {
  const { manifest, outputs, wallet, requester, modules } = facts;
  if (!manifest.requesters.includes(requester.publicKey)) {
    throw new CairnError(
      "unknown-requester",
      "the configured key is none of those that the manifest lets ask for spends; set requester_key to one that is",
      { requester: requester.publicKey },
    );
  }
  const lifeMs = parseDuration(options.expiry);
  if (lifeMs > MAX_REQUEST_LIFETIME_MS) {
    throw new CairnError("malformed", "--expiry is longer than the 7 days that a request may live");
  }
  const createdAt = modules.clock.now();
  return parseShape(spendRequestSchema, {
    version: 1,
    cluster: manifest.cluster,
    network: manifest.network,
    wallet: wallet.record.wallet,
    outputs,
    maxFeeSats: satsSchema.parse(parseAmount(options.maxFee)),
    feeRateSatsPerKvb: options.feeRate === undefined ? null : parseFeeRate(options.feeRate),
    nonce: nonceSchema.parse(toHex(modules.random.bytes(32))),
    createdAt,
    expiry: createdAt + lifeMs,
    replaces:
      options.replaces === undefined
        ? null
        : requestHashSchema.parse(hex32(options.replaces, "the hash of a request")),
    requester: requester.publicKey,
  });
}
