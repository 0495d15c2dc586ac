import { type Descriptor, deriveKey, parseDescriptor } from "@cairn/bitcoin";
import { type KeyView, spendRequestToJson, type TransactionDetail } from "@cairn/client";
import {
  isCairnError,
  type KeygenRequest,
  type KeyId,
  type KeyPath,
  keygenRequestSchema,
  keyIdSchema,
  manifestHash,
  type NodeIndex,
  type Protocol,
  parseShape,
  type SignedKeygenRequest,
  type SignedSpendRequest,
  type SpendRequest,
  signBody,
  signedWalletRecordSchema,
  spendRequestSchema,
  systemClock,
  systemRandom,
  type Txid,
  toHex,
  txidSchema,
  verifyWalletRecord,
  type WalletRecord,
} from "@cairn/core";
import type { Cluster } from "./cluster.ts";
import { until } from "./until.ts";

/** A wallet whose record all nodes signed, as its owner checked it. */
export interface OwnedWallet {
  readonly record: WalletRecord;
  readonly descriptor: Descriptor;
}

export interface Recipient {
  readonly address: string;
  readonly amountSats: bigint;
}

/** How long the nodes' signatures on a new wallet's record may take. */
const WALLET_LIMIT_MS = 30_000;

/** States in which a spend has ended without a payment. */
export const unpaidEnds: readonly TransactionDetail["state"][] = [
  "rejected",
  "expired",
  "failed",
  "replaced",
  "aborted-byzantine",
  "aborted-timeout",
];

/**
 * The people of a cluster: asks for keys with an operator's signature and for spends with the owner's, through the REST API alone,
 * and believes no node alone.
 */
export class ClusterOwner {
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** A request for a new key, with an operator's signature. */
  keygenRequest(protocol: Protocol, label: string, change: Partial<KeygenRequest> = {}): SignedKeygenRequest {
    const { manifest, operator } = this.#cluster;
    const now = systemClock.now();
    const body = parseShape(keygenRequestSchema, {
      version: 1,
      cluster: manifest.cluster,
      manifest: manifestHash(manifest),
      protocol,
      threshold: manifest.threshold,
      total: manifest.members.length,
      label,
      nonce: toHex(systemRandom.bytes(32)),
      createdAt: now,
      expiry: now + 60 * 60 * 1000,
      operator: operator.publicKey,
      ...change,
    });
    return signBody("cairn/keygen-request/v1", body, operator);
  }

  /** Asks node `at` for a new key, which all nodes make together. */
  async requestKey(protocol: Protocol, label: string, at = 1): Promise<KeyId> {
    const view = await this.#cluster
      .client(at)
      .call("createKey", { body: this.keygenRequest(protocol, label) });
    return parseShape(keyIdSchema, view.keyId);
  }

  /**
   * Waits until every node has the key active, and gives its wallet, which all nodes must show alike and have signed.
   * @param progress hears how node 1 sees the key at every look
   */
  async wallet(
    keyId: KeyId,
    timeoutMs: number,
    progress: (key: KeyView) => void = () => {},
  ): Promise<OwnedWallet> {
    const { running } = this.#cluster;
    let seen: string[] = [];
    await until(
      async () => {
        const views = await Promise.all(
          running.map(async ({ client }) => {
            try {
              return await client.call("getKey", { params: { keyId } });
            } catch (error) {
              if (isCairnError(error, "not-found")) return null;
              throw error;
            }
          }),
        );
        seen = views.map((view) =>
          view === null ? "unknown" : `${view.status}/${view.stage}/${view.progress}/${view.reason}`,
        );
        const [first] = views;
        if (first != null) progress(first);
        if (views.some((view) => view?.status === "failed")) throw new Error(`the key failed: ${seen}`);
        return views.every((view) => view?.status === "active") ? true : null;
      },
      { timeoutMs, describe: () => `the key is at ${seen.join(", ")}`, everyMs: 250 },
    );
    // A key is active a moment before the last node's signature on its wallet's record is there.
    return until(() => this.readWallet(keyId), {
      timeoutMs: WALLET_LIMIT_MS,
      describe: () => "not all nodes show the wallet of the key",
    });
  }

  /**
   * The wallet of an active key, as every node that runs shows it, or null where one does not show it yet.
   * @throws Error when nodes disagree, or one shows a record that not all have signed
   */
  async readWallet(keyId: KeyId): Promise<OwnedWallet | null> {
    const records: WalletRecord[] = [];
    for (const { client, index } of this.#cluster.running) {
      const { wallets } = await client.call("listWallets", {});
      const view = wallets.find(({ record }) => record.keyId === keyId);
      if (view === undefined) return null;
      const signed = parseShape(signedWalletRecordSchema, view);
      if (!verifyWalletRecord(signed, this.#cluster.manifest))
        throw new Error(`node ${index} shows a wallet record that not all nodes signed`);
      records.push(signed.record);
    }
    const [record] = records;
    if (record === undefined) throw new Error("no node runs");
    if (new Set(records.map(({ descriptor }) => descriptor)).size !== 1)
      throw new Error("the nodes show different wallets for one key");
    return { record, descriptor: parseDescriptor(record.descriptor, record.network) };
  }

  /** An address of the wallet, derived here. */
  address(wallet: OwnedWallet, path: KeyPath): string {
    return deriveKey(wallet.descriptor, path).address;
  }

  /** Pays the wallet from the faucet and confirms it with a block. */
  fund(wallet: OwnedWallet, path: KeyPath, amountSats: bigint): Txid {
    const { faucet } = this.#cluster.chain;
    const txid = faucet.pay(this.address(wallet, path), amountSats);
    faucet.mine(1);
    return txid;
  }

  /** At how many of the nodes that run a presignature for the coins at `path` is ready, of signers that all are up. */
  async nodesStocked(wallet: OwnedWallet, path: KeyPath): Promise<number> {
    const { running } = this.#cluster;
    const up = running.map(({ index }) => index as number);
    const stocked = await Promise.all(
      running.map(async ({ client }) => {
        const { presignatures } = await client.call("listPresignatures", {
          query: { keyId: wallet.record.keyId, state: "ready", limit: 1_000 },
        });
        return presignatures.some(
          (item) => item.path.join() === path.join() && item.signers.every((signer) => up.includes(signer)),
        );
      }),
    );
    return stocked.filter(Boolean).length;
  }

  /** A request to pay `recipients`, with the owner's signature. */
  spendRequest(
    wallet: OwnedWallet,
    recipients: readonly Recipient[],
    change: Partial<SpendRequest> = {},
  ): SignedSpendRequest {
    const { manifest, requester } = this.#cluster;
    const now = systemClock.now();
    const body = parseShape(spendRequestSchema, {
      version: 1,
      cluster: manifest.cluster,
      network: manifest.network,
      wallet: wallet.record.wallet,
      outputs: recipients,
      maxFeeSats: 20_000n,
      feeRateSatsPerKvb: 2_000,
      nonce: toHex(systemRandom.bytes(32)),
      createdAt: now,
      expiry: now + 10 * 60 * 1000,
      replaces: null,
      requester: requester.publicKey,
      ...change,
    });
    return signBody("cairn/spend-request/v1", body, requester);
  }

  /** Hands a signed request to a node. @throws CairnError with the code of its refusal */
  async submit(at: number, signed: SignedSpendRequest): Promise<Txid> {
    const view = await this.#cluster
      .client(at)
      .call("createTransaction", { body: spendRequestToJson(signed) });
    return parseShape(txidSchema, view.txid);
  }

  /** A transaction as node `at` sees it, or null where it does not know it. */
  async transaction(at: number, txid: Txid): Promise<TransactionDetail | null> {
    try {
      return await this.#cluster.client(at).call("getTransaction", { params: { txid } });
    } catch (error) {
      if (isCairnError(error, "not-found")) return null;
      throw error;
    }
  }

  /** Waits until the chain holds the signed transaction, waiting or confirmed. @throws Error when it ends without */
  async published(txid: Txid, timeoutMs: number): Promise<void> {
    const { chain } = this.#cluster.chain;
    await until(
      async () => {
        if (chain.transaction(txid) !== undefined) return true;
        const views = await this.views(txid);
        const over = views.filter(({ view }) => view !== null && unpaidEnds.includes(view.state));
        if (over.length === views.length) throw new Error(`the spend ended unpaid: ${describe(views)}`);
        return null;
      },
      {
        timeoutMs,
        describe: async () => `the spend is not published: ${describe(await this.views(txid))}`,
      },
    );
  }

  /** Waits until every node that runs counts at least one confirmation, and gives what they say. */
  async confirmed(txid: Txid, timeoutMs: number): Promise<readonly TransactionDetail[]> {
    return until(
      async () => {
        const views = await this.views(txid);
        const confirmed = views.flatMap(({ view }) =>
          view?.state === "confirmed" && view.confirmations > 0 ? [view] : [],
        );
        return confirmed.length === views.length ? confirmed : null;
      },
      {
        timeoutMs,
        describe: async () => `the spend is not confirmed everywhere: ${describe(await this.views(txid))}`,
      },
    );
  }

  /** Submits, waits until it is published, mines a block, and waits until every node that runs sees it confirmed. */
  async pay(
    at: number,
    signed: SignedSpendRequest,
    timeoutMs = 60_000,
  ): Promise<{ readonly txid: Txid; readonly views: readonly TransactionDetail[] }> {
    const txid = await this.submit(at, signed);
    await this.published(txid, timeoutMs);
    this.#cluster.chain.faucet.mine(1);
    return { txid, views: await this.confirmed(txid, timeoutMs) };
  }

  /** How each node that runs sees a transaction. */
  async views(
    txid: Txid,
  ): Promise<readonly { readonly node: NodeIndex; readonly view: TransactionDetail | null }[]> {
    return Promise.all(
      this.#cluster.running.map(async ({ index }) => ({
        node: index,
        view: await this.transaction(index, txid),
      })),
    );
  }

  /** What each node that runs says the wallet holds and may spend now. */
  async balances(
    wallet: OwnedWallet,
  ): Promise<
    readonly { readonly node: NodeIndex; readonly confirmedSats: bigint; readonly reservedSats: bigint }[]
  > {
    return Promise.all(
      this.#cluster.running.map(async ({ index, client }) => {
        const { confirmedSats, reservedSats } = await client.call("getBalance", {
          query: { wallet: wallet.record.wallet },
        });
        return { node: index, confirmedSats: BigInt(confirmedSats), reservedSats: BigInt(reservedSats) };
      }),
    );
  }
}

function describe(
  views: readonly { readonly node: NodeIndex; readonly view: TransactionDetail | null }[],
): string {
  return views
    .map(
      ({ node, view }) => `node ${node}: ${view === null ? "unknown" : `${view.state} ${view.reason ?? ""}`}`,
    )
    .join(", ");
}
