import type { Network } from "@cairn/core";

/** Constants of one Bitcoin network that its addresses and extended keys carry. */
export interface NetworkParams {
  /** Human-readable part of segwit addresses (BIP-173). */
  readonly hrp: "bc" | "tb" | "bcrt";
  /** Version byte of base58 pay-to-public-key-hash addresses. */
  readonly p2pkh: number;
  /** Version byte of base58 pay-to-script-hash addresses. */
  readonly p2sh: number;
  /** Version of serialised extended public keys (BIP-32): `xpub` or `tpub`. */
  readonly extendedPublicKey: number;
}

const test = { p2pkh: 0x6f, p2sh: 0xc4, extendedPublicKey: 0x043587cf } as const;

const params: Readonly<Record<Network, NetworkParams>> = {
  mainnet: { hrp: "bc", p2pkh: 0x00, p2sh: 0x05, extendedPublicKey: 0x0488b21e },
  testnet4: { hrp: "tb", ...test },
  signet: { hrp: "tb", ...test },
  regtest: { hrp: "bcrt", ...test },
};

/**
 * The constants of `network`. testnet4 and signet share theirs, so an address of one is well formed on the
 * other; only a chain source tells them apart.
 */
export function networkParams(network: Network): NetworkParams {
  return params[network];
}
