import { signingInputs } from "@cairn/bitcoin";
import {
  certificateSchema,
  deriveGrant,
  type GrantDocument,
  type GrantStanding,
  type Intent,
  intentHash,
  intentSchema,
  type KeygenGrant,
  type SigningGrant,
  verifyKeygenGrant,
  verifySigningGrant,
} from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  decodeCanonical,
  type KeyId,
  keygenRequestHash,
  type NodeStore,
  type RequestHash,
  type SignedWalletRecord,
  type TransactionRow,
  type WalletId,
  type WalletRecord,
} from "@cairn/core";
import type { KeyProgress } from "./live-keys.ts";
import type { ManifestBook } from "./manifest-book.ts";
import { readSpend } from "./read-spend.ts";
import { spendOfRequest } from "./spend-of-request.ts";
import { isUnderWay } from "./stored-spends.ts";

export interface GrantDeskModules {
  readonly store: Pick<NodeStore, "transaction" | "transactionOfRequest" | "transactionsOfLineage">;
  readonly book: Pick<ManifestBook, "manifest" | "under">;
  readonly keys: { list(): readonly KeyProgress[] };
  readonly wallets: { get(wallet: WalletId): { readonly signed: SignedWalletRecord } };
  readonly clock: Pick<Clock, "now">;
}

/**
 * Grants with all that proves them, as this node's store holds them: what it hands out to people, and what it says of grants that are
 * handed in (architecture §5.4). Nothing here causes a signature.
 */
export class GrantDesk {
  readonly #modules: GrantDeskModules;

  constructor(modules: GrantDeskModules) {
    this.#modules = modules;
  }

  /** The spend that a request stands for now, or null. */
  spendOf(request: RequestHash): Promise<TransactionRow | null> {
    return spendOfRequest(this.#modules.store, request);
  }

  /** The grant of a spend, or null while this node has no certificate of it. The same bytes whenever it is asked for. */
  async signing(row: TransactionRow): Promise<SigningGrant | null> {
    if (row.certificate === null) return null;
    const intent = decodeCanonical(intentSchema, row.intentBody);
    const { manifest } = this.#modules.book.under(intent.manifestHash);
    const wallet = this.#modules.wallets.get(row.wallet).signed;
    const inputs = await readInputs(intent, wallet.record);
    return {
      version: 1,
      type: "signing",
      grant: deriveGrant({ intent, manifest, wallet: wallet.record, inputs }),
      proof: { certificate: decodeCanonical(certificateSchema, row.certificate), engines: [] },
      intent,
      wallet,
    };
  }

  /** The grant to make a key, or null while this node lacks approvals of it, and once the key is given up. */
  keygen(keyId: KeyId): KeygenGrant | null {
    const key = this.#keyOf(keyId);
    if (key?.standing !== "committed" && key?.standing !== "in-force") return null;
    const approvals = key.approvals.toSorted((a, b) => a.body.node - b.body.node);
    return { version: 1, type: "keygen", request: key.request, approvals };
  }

  /**
   * What this node would say of a grant, whoever hands it in.
   * @returns whether it knows what the grant is for
   * @throws CairnError the codes of `verifySigningGrant` and `verifyKeygenGrant`: among them `wrong-cluster`, `wrong-wallet`,
   * `wrong-manifest` (foreign), `grant-invalid`, `signature-invalid`, `certificate-invalid` (altered), `grant-expired`, `replayed`
   */
  async check(document: GrantDocument): Promise<Exclude<GrantStanding, "ended">> {
    const { book, clock, store } = this.#modules;
    const cluster = document.type === "signing" ? document.grant.cluster : document.request.body.cluster;
    if (cluster !== book.manifest.cluster)
      throw new CairnError("wrong-cluster", "the grant is for another cluster", { cluster });
    const now = clock.now();
    if (document.type === "keygen") {
      const { manifest, manifestHash } = book.under(document.request.body.manifest);
      verifyKeygenGrant(document, { manifest, manifestHash, now });
      const row = this.#keyOf(keygenRequestHash(document.request.body))?.row;
      if (row === undefined) return "new";
      if (row.status === "generating") return "live";
      throw new CairnError("replayed", "the grant has been used: what came of it is the key", {
        keyId: row.keyId,
        status: row.status,
      });
    }
    const { manifest, manifestHash } = book.under(document.intent.manifestHash);
    const row = await store.transaction({ intent: intentHash(document.intent) });
    const standing = row === null ? "new" : isUsable(row) ? "live" : "ended";
    await verifySigningGrant(document, {
      manifest,
      manifestHash,
      now,
      read: readInputs,
      firstSeenAt: row?.firstSeenAt ?? now,
      standing,
    });
    return standing === "new" ? "new" : "live";
  }

  #keyOf(keyId: KeyId): KeyProgress | undefined {
    return this.#modules.keys.list().find(({ row }) => row.keyId === keyId);
  }
}

/** Whether a signature may still be made for a spend. */
function isUsable({ state, signedTx }: TransactionRow): boolean {
  return signedTx === null && isUnderWay(state);
}

async function readInputs(intent: Intent, wallet: WalletRecord) {
  return signingInputs(await readSpend(intent, wallet));
}
