import { CairnError, type KeyId, type NodeIndex, walletIdSchema } from "@cairn/core";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";

/** How old what is said of a balance may be. */
const BALANCE_AGE_MS = 5_000;

/** Endpoints of wallets. */
export function walletHandlers(
  modules: ApiModules,
): Pick<Handlers, "listWallets" | "getBalance" | "getAddress" | "overrideAddress"> {
  const { node } = modules;
  const select = (wallet: string | undefined) =>
    node.wallets.select(wallet === undefined ? undefined : walletIdSchema.parse(wallet)).signed.record;

  const missingOf = (keyId: KeyId): readonly NodeIndex[] =>
    node.backups.unbacked().find((key) => key.keyId === keyId)?.missing ?? [];
  const next = async ({ wallet, descriptor }: ReturnType<typeof select>, unbacked: readonly NodeIndex[]) => {
    const { address, path } = await node.wallets.nextAddress(wallet);
    const shown: [number, number] = [path[0], path[1]];
    return { wallet, address, path: shown, descriptor, unbacked: [...unbacked] };
  };

  return {
    async listWallets() {
      return {
        wallets: node.wallets
          .all()
          .map(({ signed }) => ({ record: { ...signed.record }, signatures: [...signed.signatures] })),
      };
    },

    async getBalance({ query }) {
      const { wallet } = select(query.wallet);
      const view = await node.wallets.view(wallet, BALANCE_AGE_MS);
      const reserved = node.spends.reservedSats(wallet);
      const held = view.confirmedSats + view.unconfirmedSats;
      return {
        wallet,
        confirmedSats: view.confirmedSats.toString(),
        unconfirmedSats: view.unconfirmedSats.toString(),
        reservedSats: reserved.toString(),
        spendableSats: (held > reserved ? held - reserved : 0n).toString(),
        utxos: view.coins.length,
        tipHeight: node.chain.tipHeight ?? 0,
      };
    },

    async getAddress({ query }) {
      const record = select(query.wallet);
      const missing = missingOf(record.keyId);
      if (missing.length > 0 && modules.manifest.network === "mainnet") {
        throw new CairnError(
          "not-backed-up",
          `no address of this key is shown before every member has a verified backup of its share; missing are nodes ${missing.join(", ")}: see \`cairn backup status\``,
          { keyId: record.keyId, missing },
        );
      }
      return next(record, missing);
    },

    async overrideAddress({ body }) {
      const record = select(body.wallet);
      const missing = missingOf(record.keyId);
      const view = await next(record, missing);
      if (missing.length > 0) await node.backups.overridden(record.keyId, view.address, missing);
      return view;
    },
  };
}
