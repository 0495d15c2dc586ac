import { CairnError, ed25519PublicKeySchema, type PolicyLimits, parseShape } from "@cairn/core";
import type { Command } from "commander";
import { parseAmount } from "../amount.ts";
import { collect, wholeNumber } from "./option-values.ts";

/** What `addPolicyOptions` adds. */
export interface PolicyOptions {
  readonly maxPerTransaction?: string;
  readonly maxPerDay?: string;
  readonly approver?: readonly string[];
  readonly approvals?: number;
  readonly approvalsAbove?: string;
}

/** Lets a command that makes a cluster take the rules of its first policy. */
export function addPolicyOptions(command: Command): Command {
  return command
    .option("--max-per-transaction <amount>", "policy: the most that one transaction may pay")
    .option("--max-per-day <amount>", "policy: the most that may be paid in 24 hours")
    .option(
      "--approver <key>",
      "policy: public key of somebody who approves payments, of `cairn init approver`; repeat for each",
      collect,
    )
    .option(
      "--approvals <m>",
      "policy: how many approvers must approve a payment; all where it is left out",
      wholeNumber(1, 64),
    )
    .option(
      "--approvals-above <amount>",
      "policy: payments up to this amount need no approval; every payment needs it where this is left out",
    );
}

/** @throws CairnError `malformed`, `amount-invalid` */
export function readPolicyOptions(options: PolicyOptions): PolicyLimits {
  const { maxPerTransaction, maxPerDay, approver, approvals, approvalsAbove } = options;
  if (approvals !== undefined && approver === undefined) {
    throw new CairnError("malformed", "--approvals says how many of whom; name each with --approver");
  }
  return {
    ...(maxPerTransaction === undefined ? {} : { perTransactionMaxSats: parseAmount(maxPerTransaction) }),
    ...(maxPerDay === undefined ? {} : { rolling24hMaxSats: parseAmount(maxPerDay) }),
    ...(approver === undefined
      ? {}
      : {
          approvals: {
            m: approvals ?? approver.length,
            keys: approver.map((key) => parseShape(ed25519PublicKeySchema, key)),
            aboveSats: approvalsAbove === undefined ? 0n : parseAmount(approvalsAbove),
          },
        }),
  };
}
