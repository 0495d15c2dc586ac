import type { TransactionState } from "@cairn/core";
import type { Invariant } from "../invariant.ts";

const over: ReadonlySet<TransactionState> = new Set<TransactionState>([
  "confirmed",
  "rejected",
  "expired",
  "failed",
  "replaced",
  "aborted-byzantine",
  "aborted-timeout",
]);

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
          if (sats !== 0n) return `node ${node} still holds ${sats} sat of wallet ${wallet}`;
        }
      }
      for (const intent of world.signed.keys()) {
        const states = [...rows].map(([node, own]) => [
          node,
          own.find((row) => row.intent === intent)?.state,
        ]);
        if (new Set(states.map(([, state]) => state === "confirmed")).size > 1)
          return `honest nodes disagree whether ${intent} is paid: ${states.map(([node, state]) => `${node} ${state}`).join(", ")}`;
      }
      return null;
    },
  };
}
