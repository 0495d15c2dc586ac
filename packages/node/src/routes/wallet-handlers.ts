import { walletIdSchema } from "@cairn/core";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";

/** How old what is said of a balance may be. */
const BALANCE_AGE_MS = 5_000;

/** Endpoints of wallets. */
export function walletHandlers({
  node,
}: ApiModules): Pick<Handlers, "listWallets" | "getBalance" | "getAddress"> {
  const select = (wallet: string | undefined) =>
    node.wallets.select(wallet === undefined ? undefined : walletIdSchema.parse(wallet)).signed.record;

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
      const { wallet, descriptor } = select(query.wallet);
      const { address, path } = await node.wallets.nextAddress(wallet);
      return { wallet, address, path: [path[0], path[1]], descriptor };
    },
  };
}
