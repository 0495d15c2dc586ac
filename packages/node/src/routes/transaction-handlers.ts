import { spendRequestText, type TransactionDetail, type TransactionView } from "@cairn/client";
import { intentSchema } from "@cairn/consensus";
import {
  CairnError,
  decodeCanonical,
  type Ed25519PublicKey,
  intentHashSchema,
  type Nonce,
  requestHashSchema,
  type SpendRequest,
  satsSchema,
  type TransactionQuery,
  type TransactionRow,
  type TransactionState,
  toHex,
  transactionStates,
  txidSchema,
  unixMsSchema,
  walletIdSchema,
} from "@cairn/core";
import { readMetadata } from "@cairn/runtime";
import { z } from "zod";
import type { ApiModules } from "../api-modules.ts";
import { approvalsView } from "../approvals-view.ts";
import { explainState } from "../explain-state.ts";
import type { HandlerInput, Handlers } from "../handler.ts";
import { readCursor, writeCursor } from "../page-cursor.ts";
import { refuseZeroOutputs } from "../refuse-zero-outputs.ts";
import type { SpendFacts } from "../spend-facts-cache.ts";
import { timeText, timeTextOrNull } from "../time-text.ts";

/** Of the bare form, which names neither. */
const BARE_LIFE_MS = 60 * 60 * 1000;
const BARE_MAX_FEE_SATS = 50_000n;
/** Transactions that one page looks through for a recipient. */
const MOST_SEARCHED = 500;
/** Who asks, where nobody signed. */
const NOBODY = "0".repeat(64) as Ed25519PublicKey;

const preparedSchema = z.strictObject({ nonce: z.string(), createdAt: unixMsSchema });

/** Endpoints of spends. */
export function transactionHandlers(
  modules: ApiModules,
): Pick<
  Handlers,
  | "createTransaction"
  | "listTransactions"
  | "getTransaction"
  | "refreshTransaction"
  | "getRequest"
  | "approveRequest"
> {
  const { node, store, spendFacts } = modules;

  const view = (row: TransactionRow, facts: SpendFacts): TransactionView => {
    const approvals = approvalsView(node, row, facts);
    const tip = node.chain.tipHeight;
    // Settled transactions are followed no longer: their depth comes from the tip.
    const depth = row.blockHeight === null || tip === null ? 0 : tip - row.blockHeight + 1;
    return {
      txid: row.txid,
      intent: row.intent,
      request: row.request,
      lineage: row.lineage,
      wallet: row.wallet,
      state: row.state,
      reason: row.reason,
      explanation: explainState(row, approvals),
      approvals,
      outputs: facts.outputs.map(({ address, amountSats }) => ({
        address,
        amountSats: amountSats.toString(),
      })),
      amountSats: row.amountSats.toString(),
      feeSats: row.feeSats.toString(),
      maxFeeSats: facts.maxFeeSats.toString(),
      createdAt: timeText(row.createdAt),
      updatedAt: timeText(row.updatedAt),
      expiry: timeText(row.expiry),
      confirmedAt: timeTextOrNull(row.confirmedAt),
      confirmations: Math.max(row.confirmations, depth),
      blockHeight: row.blockHeight,
    };
  };

  const views = async (rows: readonly TransactionRow[]): Promise<TransactionView[]> => {
    const facts = await spendFacts.of(rows);
    return rows.flatMap((row, position) => {
      const fact = facts[position];
      return fact === undefined ? [] : [view(row, fact)];
    });
  };

  const rowOf = async (txid: string): Promise<TransactionRow> => {
    const row = await store.transaction({ txid: txidSchema.parse(txid) });
    if (row === null) {
      throw new CairnError(
        "not-found",
        "this node knows no such transaction; `cairn tx list` names those it knows",
        {
          txid: txid,
        },
      );
    }
    return row;
  };

  const detailOf = async (row: TransactionRow): Promise<TransactionDetail> => {
    const [[facts], votes] = await Promise.all([spendFacts.of([row]), store.votes(row.intent)]);
    if (facts === undefined) throw new CairnError("internal", "the spend's facts are missing");
    const metadata = readMetadata(row.metadata);
    return {
      ...view(row, facts),
      rawTx: row.signedTx,
      signers: [...metadata.signers],
      votes: votes.map(({ voter, round, approve, reason, receivedAt }) => ({
        node: voter,
        round,
        approve,
        reason,
        receivedAt: timeText(receivedAt),
      })),
      votingState: node.spends.get(row.intent)?.voting.name ?? settledVotingState[row.state],
      inputs: facts.inputs.map((input) => ({ ...input, amountSats: input.amountSats.toString() })),
      timingsMs: { ...metadata.timings },
    };
  };

  return {
    async createTransaction({ body, prepare }) {
      const signed = "request" in body;
      const request = signed ? body.request : await bareRequest(modules, body, prepare);
      refuseZeroOutputs(request);
      return first(await views([await node.submit(request, signed ? body.signature : null)]));
    },

    async listTransactions({ query }) {
      const { limit, recipient } = query;
      const selection: Omit<TransactionQuery, "limit"> = {
        ...(query.wallet === undefined ? {} : { wallet: walletIdSchema.parse(query.wallet) }),
        ...(query.state === undefined ? {} : { states: readStates(query.state) }),
        ...(query.since === undefined ? {} : { since: query.since }),
        ...(query.until === undefined ? {} : { until: query.until }),
      };
      const cursor = query.cursor === undefined ? null : readCursor(query.cursor, intentHashSchema);
      const before = cursor === null ? {} : { before: { createdAt: cursor.at, intent: cursor.id } };
      // Recipients stand inside of the intents: a page of those is read, and what pays others is left out.
      const wanted = recipient === undefined ? limit : MOST_SEARCHED;
      const rows = await store.transactions({ ...selection, ...before, limit: wanted + 1 });
      const found: { readonly row: TransactionRow; readonly facts: SpendFacts }[] = [];
      let last: TransactionRow | null = null;
      for (const row of rows.slice(0, wanted)) {
        if (found.length === limit) break;
        const [facts] = await spendFacts.of([row]);
        last = row;
        if (facts === undefined) continue;
        if (recipient === undefined || facts.outputs.some(({ address }) => address === recipient)) {
          found.push({ row, facts });
        }
      }
      const more = last !== null && last !== rows.at(-1);
      return {
        transactions: found.map(({ row, facts }) => view(row, facts)),
        next: more && last !== null ? writeCursor(last.createdAt, last.intent) : null,
      };
    },

    getTransaction: async ({ params }) => detailOf(await rowOf(params.txid)),

    async refreshTransaction({ params }) {
      const { intent } = await rowOf(params.txid);
      await node.chain.refresh(intent);
      // Of several intents around one transaction, the look may have found out which one is paid.
      return detailOf(await rowOf(params.txid));
    },

    async getRequest({ params }) {
      const row =
        (await node.grants.spendOf(requestHashSchema.parse(params.request))) ??
        (await store.transaction({ intent: intentHashSchema.parse(params.request) })) ??
        (await store.transaction({ txid: txidSchema.parse(params.request) }));
      if (row === null) {
        throw new CairnError(
          "not-found",
          "this node knows no request, intent or transaction of this hash; ask the node that took the request",
          { request: params.request },
        );
      }
      const { body, signature } = decodeCanonical(intentSchema, row.intentBody).request;
      return {
        request: row.request,
        body: spendRequestText(body),
        signature,
        transaction: first(await views([row])),
      };
    },

    async approveRequest({ body: signed }) {
      await node.takeApproval(signed);
      const { requestHash: request, approver, expiry } = signed.body;
      const row = await node.grants.spendOf(request);
      return {
        request,
        approver,
        expiry: timeText(expiry),
        transaction: row === null ? null : first(await views([row])),
      };
    },
  };
}

/** Where the voting machine of a spend stood when the spend was settled. */
const settledVotingState: Record<TransactionState, string> = {
  pending: "Initial",
  voting: "Collecting",
  approved: "ThresholdReached",
  signing: "ThresholdReached",
  signed: "Submitted",
  broadcasting: "Submitted",
  confirmed: "Confirmed",
  rejected: "Rejected",
  expired: "AbortedTimeout",
  failed: "Dead",
  replaced: "Dead",
  "aborted-byzantine": "AbortedByzantine",
  "aborted-timeout": "AbortedTimeout",
};

/** The request that the bare form stands for: of the only wallet, within the hour. A retry with its key is the same request. */
async function bareRequest(
  { manifest, node, clock, random }: ApiModules,
  body: Extract<HandlerInput<"createTransaction">["body"], { recipient: string }>,
  prepare: HandlerInput<"createTransaction">["prepare"],
): Promise<SpendRequest> {
  if (!manifest.unsignedRequests) {
    throw new CairnError(
      "unsigned-request",
      "this cluster takes signed requests only; send {request, signature}, which `cairn send` makes with the owner's key",
    );
  }
  const wallet = node.wallets.select(undefined).signed.record.wallet;
  const text = await prepare(() =>
    JSON.stringify({ nonce: toHex(random.bytes(32)), createdAt: clock.now() }),
  );
  const { nonce, createdAt } = preparedSchema.parse(JSON.parse(text));
  return {
    version: 1,
    cluster: manifest.cluster,
    network: manifest.network,
    wallet,
    outputs: [{ address: body.recipient, amountSats: body.amount_sats }],
    maxFeeSats: satsSchema.parse(BARE_MAX_FEE_SATS),
    feeRateSatsPerKvb: null,
    nonce: nonce as Nonce,
    createdAt,
    expiry: unixMsSchema.parse(createdAt + BARE_LIFE_MS),
    replaces: null,
    requester: NOBODY,
  };
}

function first<T>(values: readonly T[]): T {
  const [value] = values;
  if (value === undefined) throw new CairnError("internal", "the transaction just made is missing");
  return value;
}

function readStates(text: string): TransactionState[] {
  return text.split(",").map((word) => {
    const state = transactionStates.find((known) => known === word.trim());
    if (state !== undefined) return state;
    throw new CairnError("malformed", `${word} is no state; states are ${transactionStates.join(", ")}`, {
      path: "state",
    });
  });
}
