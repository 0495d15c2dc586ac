import assert from "node:assert/strict";
import { test } from "node:test";
import { type ChainSource, createDescriptor, deriveKey, MemoryChainSource } from "@cairn/bitcoin";
import { encodeCanonical, type WalletRow } from "@cairn/core";
import { ManualClock } from "@cairn/core/test-support";
import { WalletBook } from "../src/wallet-book.ts";

const DAY_MS = 24 * 3_600_000;
// The curve's generator: a public key whose wallet nobody uses.
const publicKey = Buffer.from("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", "hex");
const descriptor = createDescriptor("wpkh", "regtest", new Uint8Array(publicKey), new Uint8Array(32).fill(7));

/** A book with one wallet, on a chain that tells it of `used` receive addresses whose coins were spent long ago. */
function bookOf(used: number) {
  const chain = new MemoryChainSource();
  const old = new Set(
    Array.from({ length: used }, (_, i) => Buffer.from(deriveKey(descriptor, [0, i]).script).toString("hex")),
  );
  const asked = { scripts: 0 };
  const source: ChainSource = Object.assign(Object.create(chain) as ChainSource, {
    tip: () => chain.tip(),
    blockHash: (height: number) => chain.blockHash(height),
    scriptActivity: async (script: Uint8Array) => {
      asked.scripts += 1;
      const known = old.has(Buffer.from(script).toString("hex"));
      return known ? { used: true, utxos: [], settled: 2 } : chain.scriptActivity(script);
    },
  });
  const clock = new ManualClock();
  const book = new WalletBook({ chain: source, clock });
  const row: WalletRow = {
    wallet: descriptor.wallet,
    keyId: "0b".repeat(32) as WalletRow["keyId"],
    label: "old",
    record: encodeCanonical({
      record: {
        version: 1,
        cluster: "c1".repeat(32),
        wallet: descriptor.wallet,
        label: "old",
        network: "regtest",
        descriptor: descriptor.text,
        keyId: "0b".repeat(32),
        protocol: "cggmp24",
        publicPackage: "0c".repeat(32),
        birthday: 1,
      },
      signatures: [],
    }),
    createdAt: clock.now(),
  };
  book.add(row);
  const scan = async () => {
    asked.scripts = 0;
    await book.view(descriptor.wallet, 0);
    clock.jump(60_000);
    return asked.scripts;
  };
  return { chain, clock, scan };
}

test("scans of a wallet of 300 old addresses soon ask for a few of them, and for all once a day", async () => {
  const used = 300;
  const gaps = 2 * 20;
  const { chain, clock, scan } = bookOf(used);
  assert.equal(await scan(), used + gaps);
  for (let i = 0; i < 8; i++) {
    chain.mine();
    await scan();
  }
  assert.equal(await scan(), gaps + 20);
  clock.jump(DAY_MS);
  assert.equal(await scan(), used + gaps);
  assert.equal(await scan(), gaps + 20);
});
