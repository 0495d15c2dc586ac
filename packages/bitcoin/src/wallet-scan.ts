import type { KeyPath, Outpoint, Sats, Txid } from "@cairn/core";
import { satsSchema } from "@cairn/core";
import { equalBytes } from "@noble/curves/utils.js";
import { bitcoinError } from "./bitcoin-error.ts";
import type { ChainSource, ChainUtxo, ScriptActivity } from "./chain-source.ts";
import { GAP_LIMIT } from "./check-psbt.ts";
import { ConcurrencyLimit } from "./concurrency-limit.ts";
import { type DerivedKey, type Descriptor, deriveKeys } from "./descriptor.ts";
import { inTurns, nextTurn } from "./in-turns.ts";
import {
  type BranchLook,
  type BranchMemory,
  emptyScanMemory,
  restingIndexes,
  type ScanMemory,
  scanMemoryAfter,
  standingMemory,
} from "./scan-memory.ts";
import { parseTransaction } from "./transaction.ts";

/** A coin of the wallet, proven by the whole transaction that made it. */
export interface WalletCoin {
  readonly outpoint: Outpoint;
  readonly amountSats: Sats;
  readonly script: Uint8Array;
  readonly address: string;
  readonly path: KeyPath;
  readonly status: ChainUtxo["status"];
  /** Serialised previous transaction. */
  readonly previousTransaction: Uint8Array;
}

/** What is known of a wallet: feed it to the next scan, which then starts from there. */
export interface WalletView {
  /** Addresses that ever received, in order of branch and index. */
  readonly used: readonly { readonly path: KeyPath; readonly address: string }[];
  /** First receive index after the last that was used. */
  readonly nextReceiveIndex: number;
  readonly nextChangeIndex: number;
  readonly coins: readonly WalletCoin[];
  readonly confirmedSats: bigint;
  /** Sum of coins that wait in the mempool. */
  readonly unconfirmedSats: bigint;
  /** Which addresses the next scan may pass over. */
  readonly memory: ScanMemory;
}

export interface WalletScanOptions {
  readonly descriptor: Descriptor;
  /** Result of an earlier scan of the same wallet: indexes never go back, and known transactions aren't fetched again. */
  readonly previous?: WalletView;
  /** Asks for every address, those at rest too. False by default. */
  readonly full?: boolean;
  /** Addresses at rest that each scan asks for all the same. 20 receive and 4 change addresses by default. */
  readonly restingPerScan?: { readonly receive: number; readonly change: number };
  /** Unused addresses in a row after which a branch is taken to end. 20 by default. */
  readonly gapLimit?: number;
  /** Questions under way at once. 8 by default. */
  readonly maxConcurrent?: number;
  /** Addresses of a branch after which a source that still calls them used is taken to lie. 20,000 by default. */
  readonly maxAddresses?: number;
}

/**
 * Looks for the coins of a wallet on both branches, each until `gapLimit` unused addresses in a row.
 *
 * A coin's amount and script are read from its full previous transaction, whatever a source says of them. A coin that is
 * listed, but that its transaction does not pay to the wallet, fails the scan: the source lies.
 *
 * With `previous`, addresses at rest are passed over: those that were used, hold no coins, have nothing waiting, and whose
 * last transaction is buried 6 deep by the tips of earlier scans. What a scan shows it has just asked for, so it never
 * shows a coin that is gone. A payment to an address at rest is seen within ⌈receive addresses / 20⌉ scans, or
 * ⌈change addresses / 4⌉: so many have their turn in each. After a reorganisation, addresses whose last transaction may have
 * moved are asked for at once.
 *
 * @throws CairnError of the chain source; `chain-answer-invalid` for coins that contradict their transaction, and where
 * use never ends
 */
export async function scanWallet(
  options: WalletScanOptions,
  modules: { readonly chain: ChainSource },
): Promise<WalletView> {
  const { descriptor, previous } = options;
  const gapLimit = options.gapLimit ?? GAP_LIMIT;
  const maxAddresses = options.maxAddresses ?? 20_000;
  const limit = new ConcurrencyLimit(options.maxConcurrent ?? 8);
  const tip = await modules.chain.tip();
  const memory = await standingMemory(previous?.memory ?? emptyScanMemory, tip, modules.chain);
  const perScan = options.restingPerScan ?? { receive: 20, change: 4 };
  const scan = (branch: 0 | 1, known: number, resting: number) =>
    scanBranch({
      descriptor,
      branch,
      known,
      everUsed: new Set(previous?.used.flatMap(({ path }) => (path[0] === branch ? [path[1]] : []))),
      memory: memory.branches[branch],
      perScan: options.full === true ? Number.POSITIVE_INFINITY : resting,
      gapLimit,
      maxAddresses,
      limit,
      chain: modules.chain,
    });
  const [receive, change] = await Promise.all([
    scan(0, previous?.nextReceiveIndex ?? 0, perScan.receive),
    scan(1, previous?.nextChangeIndex ?? 0, perScan.change),
  ]);

  const proven = new Map<Txid, Promise<Uint8Array>>();
  for (const coin of previous?.coins ?? []) {
    proven.set(coin.outpoint.txid, Promise.resolve(coin.previousTransaction));
  }
  const fetchOnce = (txid: Txid) => {
    const known = proven.get(txid) ?? limit.run(() => modules.chain.rawTransaction(txid));
    proven.set(txid, known);
    return known;
  };
  const listed = [...receive.listed, ...change.listed];
  const transactions = await Promise.all(listed.map(({ utxo }) => fetchOnce(utxo.outpoint.txid)));
  const coins = await inTurns(provingCoins(listed, transactions), COINS_PER_TURN);
  const sum = (state: ChainUtxo["status"]["state"]) =>
    coins.reduce((total, coin) => (coin.status.state === state ? total + coin.amountSats : total), 0n);
  const usedBefore = previous?.used ?? [];
  const used = new Map(
    [...usedBefore, ...receive.used, ...change.used].map((entry) => [entry.path.join("/"), entry] as const),
  );
  return {
    used: [...used.values()].sort((a, b) => a.path[0] - b.path[0] || a.path[1] - b.path[1]),
    nextReceiveIndex: receive.next,
    nextChangeIndex: change.next,
    coins,
    confirmedSats: sum("confirmed"),
    unconfirmedSats: sum("mempool"),
    memory: scanMemoryAfter(memory, [receive, change], tip),
  };
}

interface BranchScan extends BranchLook {
  readonly used: { readonly path: KeyPath; readonly address: string }[];
  readonly listed: { readonly key: DerivedKey; readonly utxo: ChainUtxo }[];
}

async function scanBranch(options: {
  readonly descriptor: Descriptor;
  readonly branch: 0 | 1;
  /** Next index as the previous scan left it. */
  readonly known: number;
  readonly everUsed: ReadonlySet<number>;
  readonly memory: BranchMemory;
  readonly perScan: number;
  readonly gapLimit: number;
  readonly maxAddresses: number;
  readonly limit: ConcurrencyLimit;
  readonly chain: ChainSource;
}): Promise<BranchScan> {
  const { descriptor, branch, known, gapLimit, maxAddresses, limit, chain } = options;
  const { resting, turn } = restingIndexes(options.memory, options.everUsed, options.perScan);
  const used: BranchScan["used"] = [];
  const listed: BranchScan["listed"] = [];
  const seen = new Map<number, ScriptActivity>();
  let next = known;
  for (let index = 0, batches = 1; index < next + gapLimit; batches += 1) {
    const paths: KeyPath[] = [];
    for (; paths.length < gapLimit && index < next + gapLimit; index += 1) {
      if (!resting.has(index)) paths.push([branch, index]);
    }
    // Derivation takes up to a millisecond an address: small batches let other work in between.
    const batch = deriveKeys(descriptor, paths);
    const found = await Promise.all(
      batch.map((key) => limit.run(async () => ({ key, activity: await chain.scriptActivity(key.script) }))),
    );
    // A source that answers from memory gives no turn by itself.
    if (batches % 16 === 0) await nextTurn();
    if (index > Math.max(maxAddresses, known + gapLimit)) {
      throw bitcoinError(
        "chain-answer-invalid",
        "A chain source calls ever more addresses used. Don't rely on it; configure another, or raise the limit of the scan.",
        { branch, addresses: index },
      );
    }
    for (const { key, activity } of found) {
      seen.set(key.path[1], activity);
      for (const utxo of activity.utxos) listed.push({ key, utxo });
      if (!activity.used && activity.utxos.length === 0) continue;
      used.push({ path: key.path, address: key.address });
      next = Math.max(next, key.path[1] + 1);
    }
  }
  return { used, next, turn, seen, listed };
}

/** Coins held against their transactions before the event loop gets a turn. */
const COINS_PER_TURN = 64;

function* provingCoins(
  listed: BranchScan["listed"],
  transactions: readonly Uint8Array[],
): Generator<void, WalletCoin[]> {
  const coins: WalletCoin[] = [];
  for (const [i, { key, utxo }] of listed.entries()) {
    const transaction = transactions[i];
    if (transaction !== undefined) coins.push(proveCoin(key, utxo, transaction));
    yield;
  }
  return coins;
}

function proveCoin(key: DerivedKey, utxo: ChainUtxo, previousTransaction: Uint8Array): WalletCoin {
  const { txid, vout } = utxo.outpoint;
  const transaction = parseTransaction(previousTransaction);
  const output = transaction.txid === txid ? transaction.outputs[vout] : undefined;
  if (output === undefined || !equalBytes(output.script, key.script)) {
    throw bitcoinError(
      "chain-answer-invalid",
      "A chain source lists a coin that its own transaction contradicts. Don't rely on it; configure another.",
      { txid, vout },
    );
  }
  return {
    outpoint: utxo.outpoint,
    amountSats: satsSchema.parse(output.amountSats),
    script: output.script,
    address: key.address,
    path: key.path,
    status: utxo.status,
    previousTransaction,
  };
}
