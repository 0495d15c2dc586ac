import {
  buildPsbt,
  type ChainSource,
  type ChainTip,
  dataOutputScript,
  decodeAddress,
  deriveKey,
  encodePsbt,
  type FeeEstimate,
  feeRatePerKvb,
  pickFeeRate,
  selectCoins,
  type WalletCoin,
  type WalletView,
} from "@cairn/bitcoin";
import { checkIntent, type Intent } from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  checkpointAnchor,
  isCairnError,
  type LineageId,
  type NodeStore,
  outpointText,
  type Random,
  type SignatureHex,
  type SignedCheckpoint,
  type SpendRequest,
  spendRequestHash,
} from "@cairn/core";
import type { AnchorChoice } from "./anchor-choice.ts";
import type { CoinAdvice } from "./coin-advice.ts";
import type { LiveSpends } from "./live-spends.ts";
import type { SpendClaims } from "./spend-claims.ts";
import { findLineage } from "./spend-lineage.ts";
import { intentContext, type SpendOptions } from "./spend-options.ts";
import type { WalletBook } from "./wallet-book.ts";

export interface SpendBuilderModules {
  readonly store: Pick<NodeStore, "transactionOfRequest">;
  readonly chain: ChainSource;
  readonly wallets: WalletBook;
  readonly clock: Clock;
  readonly random: Random;
  readonly live: LiveSpends;
  readonly claims: SpendClaims;
  readonly coinAdvice?: CoinAdvice;
  readonly anchors: AnchorChoice;
}

/** What the chain says that a request could be paid with. */
export interface Means {
  readonly tip: ChainTip;
  readonly view: WalletView;
  readonly estimates: readonly FeeEstimate[];
}

/** Fee rate on networks that have no estimates, such as a fresh regtest. */
const FALLBACK_RATE = feeRatePerKvb(2_000n);
const RATE_CEILING = feeRatePerKvb(500_000n);
const FEE_TARGET_BLOCKS = 6;
/** Picks that others may be faster with before the next is taken as it is. */
const MAX_CLAIMS = 8;

/**
 * Makes an intent of what an owner asks for: picks coins that nothing else wants, and builds the PSBT. A checkpoint whose anchor is due goes
 * with it where the owner's fee has room for it.
 */
export class SpendBuilder {
  readonly #options: SpendOptions;
  readonly #modules: SpendBuilderModules;

  constructor(options: SpendOptions, modules: SpendBuilderModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** The intent but for its PSBT and anchor. @throws CairnError for everything that is wrong with the request */
  draft(request: SpendRequest, signature: SignatureHex | null): Intent {
    const { protocolVersions, book } = this.#options;
    const { manifest, manifestHash } = book;
    const now = this.#modules.clock.now();
    if (request.expiry <= now) {
      throw new CairnError("expired", "the request has expired; sign a new one", {
        expiry: request.expiry,
        now,
      });
    }
    const draft: Intent = {
      version: 1,
      cluster: manifest.cluster,
      request: { body: request, signature },
      psbt: Uint8Array.of(0),
      wallet: request.wallet,
      anchor: null,
      manifestHash,
      policyVersion: manifest.policyVersion,
      protocolVersion: Math.max(
        ...protocolVersions.filter((version) => manifest.protocolVersions.includes(version)),
      ),
      createdAt: now,
    };
    checkIntent(draft, intentContext(book, this.#options, now));
    return draft;
  }

  /** Asks the chain what there is to pay with: it may take long, and many may ask at once. */
  async means(request: SpendRequest): Promise<Means> {
    const { chain, wallets } = this.#modules;
    const [tip, view, estimates] = await Promise.all([
      chain.tip(),
      wallets.view(request.wallet, 0),
      request.feeRateSatsPerKvb === null ? chain.feeEstimates() : [],
    ]);
    return { tip, view, estimates };
  }

  /**
   * Picks coins and builds the PSBT. Whoever does so next waits until this intent is stored, or it picks the same coins.
   * @throws CairnError for everything that is wrong with the wallet's means
   */
  async complete(draft: Intent, means: Means): Promise<Intent> {
    const lineage = await findLineage(draft.request.body, this.#modules.store);
    const due = await this.#modules.anchors.due(draft.manifestHash, lineage);
    const { body } = draft.request;
    const { coinAdvice } = this.#modules;
    let contested: ReadonlySet<string> = new Set();
    for (let turn = 0; ; turn += 1) {
      const { psbt, anchored, outpoints } = this.#psbt(body, means, { lineage, due, contested });
      // Where the wallet has no other coins, nodes decide whose intent they belong to.
      const settled = turn === MAX_CLAIMS || outpoints.some((outpoint) => contested.has(outpoint));
      const lost = settled ? null : await coinAdvice?.claim(outpoints, spendRequestHash(body));
      if (lost === null || lost === undefined || lost.size === 0)
        return { ...draft, psbt: new Uint8Array(psbt), anchor: anchored ? due : null };
      contested = new Set([...contested, ...lost]);
    }
  }

  #psbt(
    request: SpendRequest,
    { tip, view, estimates }: Means,
    facts: {
      readonly lineage: LineageId;
      readonly due: SignedCheckpoint | null;
      /** Coins that other receivers were faster with: taken only where no others are enough. */
      readonly contested: ReadonlySet<string>;
    },
  ): { readonly psbt: Uint8Array; readonly anchored: boolean; readonly outpoints: readonly string[] } {
    const { lineage, due } = facts;
    const { wallets, random } = this.#modules;
    const { descriptor } = wallets.get(request.wallet);
    const recipients = request.outputs.map(({ address, amountSats }) => ({
      script: decodeAddress(address, request.network).script,
      amountSats,
    }));
    const taken = new Set(this.#modules.claims.coinsBeside(lineage));
    const wanted = new Set(facts.contested);
    const ours: WalletCoin[] = [];
    for (const { row, voting } of this.#modules.live.all()) {
      if (row.state === "rejected" || row.wallet !== request.wallet) continue;
      const coins = row.outpoints.map(outpointText);
      if (row.lineage !== lineage)
        for (const coin of coins) (voting.name === "Initial" ? wanted : taken).add(coin);
      else ours.push(...view.coins.filter((coin) => coins.includes(outpointText(coin.outpoint))).slice(0, 1));
    }
    const change = deriveKey(descriptor, [1, view.nextChangeIndex]);
    const select = (
      without: ReadonlySet<string>,
      anchor: { readonly dataScript: Uint8Array } | Record<string, never> = {},
      maxFeeSats: bigint = request.maxFeeSats,
    ) =>
      selectCoins(
        {
          kind: descriptor.kind,
          coins: view.coins.filter((coin) => !without.has(outpointText(coin.outpoint))),
          required: ours,
          recipients,
          changeScript: change.script,
          feeRate:
            request.feeRateSatsPerKvb === null
              ? pickFeeRate(estimates, FEE_TARGET_BLOCKS, { fallback: FALLBACK_RATE, ceiling: RATE_CEILING })
              : feeRatePerKvb(BigInt(request.feeRateSatsPerKvb)),
          maxFeeSats,
          ...anchor,
        },
        { random },
      );
    const data = due === null ? null : checkpointAnchor(due.checkpoint);
    const withAnchor =
      data === null
        ? null
        : this.#affordable(request, (most) =>
            select(new Set([...taken, ...wanted]), { dataScript: dataOutputScript(data) }, most),
          );
    const selection = withAnchor ?? sparing(wanted, taken, select);
    const psbt = encodePsbt(
      buildPsbt({
        descriptor,
        coins: selection.coins.map(({ previousTransaction, outpoint, path }) => ({
          previousTransaction,
          vout: outpoint.vout,
          path,
        })),
        recipients,
        change:
          selection.changeSats === undefined
            ? undefined
            : { amountSats: selection.changeSats, index: view.nextChangeIndex, position: recipients.length },
        lockTime: tip.height,
        ...(data === null || withAnchor === null ? {} : { data }),
      }),
    );
    const outpoints = selection.coins.map(({ outpoint }) => outpointText(outpoint));
    return { psbt, anchored: withAnchor !== null, outpoints };
  }

  /** What `select` finds within the owner's fee and the policy's, or null: no payment fails for an anchor. */
  #affordable<T>(request: SpendRequest, select: (maxFeeSats: bigint) => T): T | null {
    const ceiling = this.#options.book.policy.feeCeilingSats ?? request.maxFeeSats;
    try {
      return select(ceiling < request.maxFeeSats ? ceiling : request.maxFeeSats);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      return null;
    }
  }
}

/** Leaves what waits for approvals its coins where others are enough; it holds none before the vote. */
function sparing<T>(
  wanted: ReadonlySet<string>,
  taken: ReadonlySet<string>,
  select: (without: ReadonlySet<string>) => T,
): T {
  if (wanted.size === 0) return select(taken);
  try {
    return select(new Set([...taken, ...wanted]));
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return select(taken);
  }
}
