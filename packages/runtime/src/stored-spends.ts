import {
  certificateSchema,
  type Intent,
  intentSchema,
  restore,
  signedVoidSchema,
  signedVoteSchema,
  type VotingContext,
  type VotingEffect,
} from "@cairn/consensus";
import {
  decodeCanonical,
  type IntentHash,
  type NodeStore,
  type TransactionRow,
  type TransactionState,
  type ViolationRow,
} from "@cairn/core";
import type { LiveSpend } from "./live-spends.ts";
import { readMetadata } from "./spend-metadata.ts";

/** Confirmations after which a payment is settled: deeper reorganisations are not followed. */
export const SETTLED_DEPTH = 6;

/** States in which a spend is under way. */
const openStates: readonly TransactionState[] = [
  "pending",
  "voting",
  "approved",
  "signing",
  "signed",
  "broadcasting",
];

/** Whether a spend in this state may still come to be paid by itself. */
export function isUnderWay(state: TransactionState): boolean {
  return openStates.includes(state);
}

/** Rows read at a restart, and confirmed ones among which unsettled ones are looked for. */
const MAX_ROWS = 1_000_000;
const MAX_RECENT = 1_000;

/** A spend as the store holds it, and what its machine asks for now. */
export interface StoredSpend {
  readonly live: LiveSpend;
  readonly effects: readonly VotingEffect[];
}

/**
 * Spends of the store that may still change: under way, not yet settled, or ended while this node still holds something for them.
 * @param heldFor intents that something is still held for
 */
export async function storedSpends(
  store: NodeStore,
  heldFor: readonly IntentHash[],
  contextOf: (intent: Intent) => VotingContext,
): Promise<readonly StoredSpend[]> {
  const violations = await store.violations({ limit: MAX_ROWS });
  const found: StoredSpend[] = [];
  for (const row of await unsettledRows(store, heldFor))
    found.push(await readSpend(store, row, violations, contextOf));
  return found;
}

/** One spend of the store, as `row` has it now. */
export async function readStoredSpend(
  store: Pick<NodeStore, "votes" | "votingRounds" | "voids" | "violations">,
  row: TransactionRow,
  contextOf: (intent: Intent) => VotingContext,
): Promise<StoredSpend> {
  return readSpend(store, row, await store.violations({ limit: MAX_ROWS }), contextOf);
}

async function readSpend(
  store: Pick<NodeStore, "votes" | "votingRounds" | "voids">,
  row: TransactionRow,
  violations: readonly ViolationRow[],
  contextOf: (intent: Intent) => VotingContext,
): Promise<StoredSpend> {
  const intent = decodeCanonical(intentSchema, row.intentBody);
  const context = contextOf(intent);
  const [votes, rounds, voids] = await Promise.all([
    store.votes(row.intent),
    store.votingRounds(row.intent),
    store.voids(row.intent),
  ]);
  const { state, effects } = restore(
    {
      subject: { intent: row.intent, expiry: row.expiry },
      votes: votes.map((vote) => decodeCanonical(signedVoteSchema, vote.body)),
      rounds,
      voids: voids.map((entry) => decodeCanonical(signedVoidSchema, entry.body)),
      certificate: row.certificate === null ? null : decodeCanonical(certificateSchema, row.certificate),
      doubleVoters: violations
        .filter(({ type, subject }) => type === "DoubleVote" && subject === row.intent)
        .map(({ node }) => node),
      chain: row.state === "confirmed" ? "confirmed" : row.signedTx === null ? "unseen" : "submitted",
      conflictDepth: 0,
    },
    context,
  );
  const live: LiveSpend = {
    intent,
    // Sessions do not outlive a process.
    row: row.state === "signing" ? { ...row, state: "approved" } : row,
    receiver: readMetadata(row.metadata).receiver,
    voting: state,
    checked: null,
    // The coins are looked at again before the first Ack of this process, and policy too where this node did not vote for it.
    reserved: false,
    voiding: voids.some((entry) => entry.node === context.me),
  };
  return { live, effects };
}

async function unsettledRows(
  store: NodeStore,
  heldFor: readonly IntentHash[],
): Promise<readonly TransactionRow[]> {
  const rows = new Map<IntentHash, TransactionRow>();
  for (const row of await store.transactions({ states: openStates, limit: MAX_ROWS }))
    rows.set(row.intent, row);
  for (const row of await store.transactions({ states: ["confirmed"], limit: MAX_RECENT })) {
    if (row.confirmations < SETTLED_DEPTH) rows.set(row.intent, row);
  }
  for (const intent of heldFor) {
    if (rows.has(intent)) continue;
    const row = await store.transaction({ intent });
    if (row !== null) rows.set(intent, row);
  }
  return [...rows.values()];
}
