import {
  type ChainSource,
  type Descriptor,
  deriveKey,
  parseDescriptor,
  scanWallet,
  type WalletView,
} from "@cairn/bitcoin";
import {
  CairnError,
  type Clock,
  decodeCanonical,
  type KeyPath,
  type SignedWalletRecord,
  signedWalletRecordSchema,
  type WalletId,
  type WalletRow,
} from "@cairn/core";

/** A wallet of this cluster, as all its nodes signed it. */
export interface BookedWallet {
  readonly signed: SignedWalletRecord;
  readonly descriptor: Descriptor;
  readonly row: WalletRow;
}

interface Scan {
  readonly view: WalletView;
  readonly at: number;
  /** When every address was last asked for. */
  readonly fullAt: number;
}

/** Longest time for which scans pass over addresses at rest: whatever a source told wrongly of one is mended by then. */
const FULL_SCAN_EVERY_MS = 24 * 3_600_000;

/** This node's wallets and what its own chain source says of them. */
export class WalletBook {
  readonly #chain: ChainSource;
  readonly #clock: Clock;
  readonly #wallets = new Map<WalletId, BookedWallet>();
  readonly #scans = new Map<WalletId, Scan>();
  readonly #running = new Map<WalletId, Promise<Scan>>();

  constructor(modules: { readonly chain: ChainSource; readonly clock: Clock }) {
    this.#chain = modules.chain;
    this.#clock = modules.clock;
  }

  add(row: WalletRow): void {
    const signed = decodeCanonical(signedWalletRecordSchema, row.record);
    const descriptor = parseDescriptor(signed.record.descriptor, signed.record.network);
    this.#wallets.set(row.wallet, { signed, descriptor, row });
  }

  all(): readonly BookedWallet[] {
    return [...this.#wallets.values()];
  }

  has(wallet: WalletId): boolean {
    return this.#wallets.has(wallet);
  }

  /** @throws CairnError `not-found` */
  get(wallet: WalletId): BookedWallet {
    const found = this.#wallets.get(wallet);
    if (found === undefined) {
      throw new CairnError("not-found", "this cluster has no such wallet; `cairn wallet list` names them", {
        wallet,
      });
    }
    return found;
  }

  /** The wallet named, or the only one. @throws CairnError `not-found` */
  select(wallet: WalletId | undefined): BookedWallet {
    if (wallet !== undefined) return this.get(wallet);
    const [first, ...others] = this.#wallets.values();
    if (first === undefined) {
      throw new CairnError("not-found", "there is no wallet yet; make a key with `cairn dkg start` first");
    }
    if (others.length > 0) {
      throw new CairnError("not-found", "there are several wallets; name one with --wallet", {
        wallets: [...this.#wallets.keys()],
      });
    }
    return first;
  }

  /**
   * What the chain says of a wallet, at most `maxAgeMs` old. Scans of one wallet are shared, never run side by side. The
   * first asks for every address, and one a day after it; the others pass over most addresses at rest (`scanWallet`).
   * @throws CairnError `chain-unavailable`, `chain-answer-invalid`
   */
  async view(wallet: WalletId, maxAgeMs: number): Promise<WalletView> {
    const known = this.#scans.get(wallet);
    if (known !== undefined && this.#clock.monotonic() - known.at <= maxAgeMs) return known.view;
    const running = this.#running.get(wallet) ?? this.#scan(wallet);
    return (await running).view;
  }

  /** The last scan, however old, or null. */
  known(wallet: WalletId): WalletView | null {
    return this.#scans.get(wallet)?.view ?? null;
  }

  /** The next address that nobody has paid to. */
  async nextAddress(wallet: WalletId): Promise<{ readonly address: string; readonly path: KeyPath }> {
    const { descriptor } = this.get(wallet);
    const { nextReceiveIndex } = await this.view(wallet, 5_000);
    const path: KeyPath = [0, nextReceiveIndex];
    return { address: deriveKey(descriptor, path).address, path };
  }

  #scan(wallet: WalletId): Promise<Scan> {
    const { descriptor } = this.get(wallet);
    const known = this.#scans.get(wallet);
    const at = this.#clock.monotonic();
    const full = known === undefined || at - known.fullAt >= FULL_SCAN_EVERY_MS;
    const run = scanWallet(
      { descriptor, full, ...(known === undefined ? {} : { previous: known.view }) },
      { chain: this.#chain },
    )
      .then((view) => {
        const scan = { view, at, fullAt: full ? at : known.fullAt };
        this.#scans.set(wallet, scan);
        return scan;
      })
      .finally(() => this.#running.delete(wallet));
    this.#running.set(wallet, run);
    return run;
  }
}
