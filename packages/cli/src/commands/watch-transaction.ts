import type { TransactionDetail } from "@cairn/client";
import { CairnError, type ErrorCode, errorCodes, isCairnError, type TransactionState } from "@cairn/core";
import type { ClusterAccess } from "../cluster-access.ts";
import type { CommandContext } from "../command-context.ts";
import { follow } from "../follow.ts";
import { outcomeOf } from "./transaction-text.ts";

/** States on the way, in order: how far a spend is. */
const way: readonly TransactionState[] = [
  "pending",
  "voting",
  "approved",
  "signing",
  "signed",
  "broadcasting",
  "confirmed",
];

/**
 * Follows a transaction until it reaches `until` or ends otherwise, and shows how far it is.
 * @param check is given every reading and throws when it is not to be believed
 * @throws CairnError `timeout`; see {@link follow}
 */
export async function watchTransaction(
  context: CommandContext,
  access: ClusterAccess,
  options: {
    readonly txid: string;
    readonly until: TransactionState;
    readonly timeoutMs: number | null;
    readonly check: (detail: TransactionDetail) => void;
  },
): Promise<TransactionDetail> {
  const { txid, until, timeoutMs, check } = options;
  const progress = context.progress;
  const target = way.indexOf(until);
  let atChain = false;
  try {
    const readings = follow(
      {
        read: async () => {
          const detail = await readTransaction(access, txid, atChain);
          atChain = detail.state === "broadcasting";
          return detail;
        },
        concerns: (event) => event.type === "transaction",
        timeoutMs,
        unreachable: (error) => progress.show(`no answer (${error.code}); trying again`, null),
      },
      { ...context.modules, client: access.client },
    );
    for await (const detail of readings) {
      if (detail.txid !== txid) {
        throw new CairnError(
          "peer-disagrees",
          "the node answers with another transaction than the one asked for",
          {
            txid,
          },
        );
      }
      check(detail);
      const at = way.indexOf(detail.state);
      progress.show(`${detail.state}${waitText(detail)}`, at < 0 ? null : (at + 1) / way.length);
      if (at >= target || outcomeOf(detail) !== "open") return detail;
    }
    throw new CairnError("closed", "the wait ended before the transaction did");
  } finally {
    progress.end();
  }
}

/**
 * Reads a transaction; once it is at the chain, only a look there brings news. Where that can't be had now, what the node saw last serves:
 * it looks by itself as well.
 */
async function readTransaction(
  { client }: ClusterAccess,
  txid: string,
  atChain: boolean,
): Promise<TransactionDetail> {
  if (atChain) {
    try {
      return await client.call("refreshTransaction", { params: { txid } });
    } catch (error) {
      if (!isCairnError(error, "chain-unavailable") && !isCairnError(error, "busy")) throw error;
    }
  }
  return client.call("getTransaction", { params: { txid } });
}

/** What a transaction waits for, where that can be counted. */
function waitText({ state, approvals, votes }: TransactionDetail): string {
  if (state === "pending" && approvals !== null)
    return `, ${approvals.given.length} of ${approvals.needed} people approve`;
  return state === "voting" ? `, ${votes.filter(({ approve }) => approve).length} nodes approve` : "";
}

/** Why a transaction that ended without a payment ended. */
export function transactionFailure(detail: TransactionDetail): CairnError {
  const reason = detail.reason;
  const code: ErrorCode =
    reason !== null && isErrorCode(reason) ? reason : detail.state === "expired" ? "expired" : "wrong-state";
  return new CairnError(
    code,
    `the transaction is ${detail.state}: ${detail.explanation ?? "the node does not say why"}`,
    { txid: detail.txid, state: detail.state, reason: reason ?? "" },
  );
}

function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorCodes, text);
}
