/** Address constants of Bitcoin's regtest, as btc-signer takes them. */
export const regtest = { bech32: "bcrt", pubKeyHash: 0x6f, scriptHash: 0xc4, wif: 0xef } as const;
