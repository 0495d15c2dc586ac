import { type Descriptor, deriveKey, parseDescriptor } from "@cairn/bitcoin";
import type { AddressView, CairnClient, WalletView } from "@cairn/client";
import {
  CairnError,
  type KeyPath,
  keyPathSchema,
  type Manifest,
  parseShape,
  type SignedWalletRecord,
  signedWalletRecordSchema,
  verifyWalletRecord,
  type WalletRecord,
} from "@cairn/core";

/** A wallet whose record all n nodes have signed. */
export interface TrustedWallet {
  readonly record: WalletRecord;
  readonly descriptor: Descriptor;
}

/**
 * The wallets that a node lists.
 * @throws CairnError `peer-disagrees` when one of them is not as all nodes signed it
 */
export async function trustedWallets(
  client: Pick<CairnClient, "call">,
  manifest: Manifest,
): Promise<readonly TrustedWallet[]> {
  const { wallets } = await client.call("listWallets", {});
  return wallets.map((view) => trustWallet(view, manifest));
}

/**
 * A wallet record, verified.
 * @throws CairnError `peer-disagrees`
 */
export function trustWallet(view: WalletView, manifest: Manifest): TrustedWallet {
  let signed: SignedWalletRecord;
  let descriptor: Descriptor;
  try {
    signed = parseShape(signedWalletRecordSchema, view);
    descriptor = parseDescriptor(signed.record.descriptor, manifest.network);
  } catch (cause) {
    throw disagrees("is malformed", view.record.wallet, cause);
  }
  const { record } = signed;
  if (!verifyWalletRecord(signed, manifest)) {
    throw disagrees(
      `does not carry the valid signatures of all ${manifest.members.length} nodes`,
      record.wallet,
    );
  }
  const kind = record.protocol === "cggmp24" ? "wpkh" : "tr";
  if (descriptor.text !== record.descriptor || descriptor.kind !== kind) {
    throw disagrees("names a descriptor that is not its own", record.wallet);
  }
  return { record, descriptor };
}

function disagrees(what: string, wallet: string, cause?: unknown): CairnError {
  return new CairnError(
    "peer-disagrees",
    `the node's record of wallet ${wallet.slice(0, 16)} ${what}: do not use it; ask another node with --endpoint URL and tell the operators`,
    { wallet },
    cause === undefined ? {} : { cause },
  );
}

/**
 * The wallet that `name` means: its id, the beginning of it (at least 8 digits) or its label; the only one where nothing is named.
 * @throws CairnError `not-found`, `malformed` when several fit
 */
export function selectWallet(wallets: readonly TrustedWallet[], name: string | undefined): TrustedWallet {
  const byId = (wallet: TrustedWallet) =>
    name !== undefined && /^[0-9a-f]{8,64}$/.test(name) && wallet.record.wallet.startsWith(name);
  const matches =
    name === undefined ? wallets : wallets.filter((wallet) => wallet.record.label === name || byId(wallet));
  const [first, second] = matches;
  if (first === undefined) {
    throw new CairnError(
      "not-found",
      name === undefined
        ? "the cluster has no wallet yet; make one with `cairn dkg start`"
        : `no wallet has the id or label ${JSON.stringify(name)}; \`cairn wallet list\` names them`,
    );
  }
  if (second !== undefined) {
    throw new CairnError(
      "malformed",
      "several wallets fit; name one with --wallet and its id, as `cairn wallet list` shows it",
      { wallets: matches.map(({ record }) => record.wallet) },
    );
  }
  return first;
}

/**
 * The address that a node proposes, derived again from the wallet's own descriptor.
 * @throws CairnError `peer-disagrees` when the node says another one
 */
export function trustAddress(
  view: AddressView,
  { record, descriptor }: TrustedWallet,
): { readonly address: string; readonly path: KeyPath } {
  const path = keyPathSchema.safeParse(view.path);
  if (path.success && path.data[0] === 0 && view.wallet === record.wallet) {
    const { address } = deriveKey(descriptor, path.data);
    if (address === view.address && view.descriptor === record.descriptor)
      return { address, path: path.data };
  }
  throw new CairnError(
    "peer-disagrees",
    "the node names an address that does not follow from the wallet's descriptor: give it to nobody; ask another node with --endpoint URL and tell the operators",
    { wallet: record.wallet },
  );
}
