import { faultsTolerated, type TransactionRow, type TransactionState, type WalletId } from "@cairn/core";
import type { Invariant } from "../invariant.ts";
import type { World } from "../world.ts";

const over: ReadonlySet<TransactionState> = new Set<TransactionState>([
  "confirmed",
  "rejected",
  "expired",
  "failed",
  "replaced",
  "aborted-byzantine",
  "aborted-timeout",
]);

/**
 * Whether a payment of the wallet is neither signed nor, by design, ever dead: so many honest nodes went as far as to release their part
 * that the rest are too few to void it. It holds its coins until another payment of its lineage takes them.
 */
function mayStillConfirm(world: World, wallet: WalletId): boolean {
  const { members, manifest } = world.plan;
  const honest = members.filter((node) => world.honest(node));
  const faulty = faultsTolerated(members.length);
  const needed = members.length - manifest.threshold + faulty + 1;
  for (const [hash, intent] of world.intents) {
    if (intent.wallet !== wallet || world.signed.has(hash)) continue;
    const free = honest.filter((node) => !world.tookPart(node, hash));
    if (free.length < needed) return true;
  }
  return false;
}

/** Once the network is whole again every request ends at every honest node by its deadline, and what was asked then is paid. */
export function everyRequestEnds(): Invariant {
  return {
    name: "every-request-ends",
    end(world, { rows, reserved, probes }) {
      for (const [node, own] of rows) {
        for (const row of own) {
          if (!over.has(row.state))
            return `${row.intent} is still ${row.state} (${row.reason}) at node ${node} after its deadline`;
        }
        for (const probe of probes) {
          const row = own.find(({ intent }) => intent === probe);
          if (row?.state !== "confirmed")
            return `${probe}, asked of a whole network, is ${row?.state ?? "unknown"} (${row?.reason}) at node ${node}`;
        }
        for (const [wallet, sats] of reserved.get(node) ?? []) {
          if (sats !== 0n && !mayStillConfirm(world, wallet))
            return `node ${node} still holds ${sats} sat of wallet ${wallet}`;
        }
      }
      // Two intents of one request may be one transaction: what counts is whether it is paid.
      for (const hash of world.signed.keys()) {
        const txid = world.intents.get(hash)?.txid;
        const paid = (own: readonly TransactionRow[]): boolean =>
          own.some((row) => row.txid === txid && row.state === "confirmed");
        const without = [...rows].filter(([, own]) => !paid(own)).map(([node]) => node);
        if (without.length > 0 && without.length < rows.size)
          return `${txid} is confirmed at some honest nodes, and not at ${without.join(", ")}`;
      }
      return null;
    },
  };
}
