import assert from "node:assert/strict";
import { test } from "node:test";
import {
  buildPsbt,
  type ChainSource,
  type ChainUtxo,
  checkPsbt,
  checkPsbtInTurns,
  type Descriptor,
  deriveKey,
  deriveKeys,
  encodePsbt,
  feeRate,
  MemoryChainSource,
  scanWallet,
  selectCoins,
} from "../src/index.ts";
import { fundedChain, rulesFor, seededRandom, strangerKey, testWallet } from "./test-wallet.ts";

/** What `run` gives, and how often the event loop came round meanwhile. */
async function countTurns<T>(run: () => Promise<T>): Promise<{ result: T; turns: number }> {
  let turns = 0;
  let running = true;
  const count = () => {
    turns += 1;
    if (running) setImmediate(count);
  };
  setImmediate(count);
  try {
    return { result: await run(), turns };
  } finally {
    running = false;
  }
}

const milliseconds = (run: () => unknown) => {
  const started = performance.now();
  run();
  return performance.now() - started;
};

for (const kind of ["wpkh", "tr"] as const) {
  test(`${kind}: a PSBT of 600 inputs is checked in many turns, with the result of the check at once`, async () => {
    const { descriptor } = testWallet(kind);
    const { coins } = fundedChain(
      descriptor,
      Array.from({ length: 600 }, (_, i) => 100_000n + BigInt(i)),
    );
    const stranger = strangerKey("wpkh", 1);
    const amountSats = coins.reduce((sum, coin) => sum + coin.amountSats, -200_000n);
    const psbt = encodePsbt(
      buildPsbt({ descriptor, coins, recipients: [{ script: stranger.script, amountSats }], lockTime: 0 }),
    );
    const rules = rulesFor(descriptor, [{ address: stranger.address, amountSats }], { maxFeeSats: 200_000n });
    const { result, turns } = await countTurns(() => checkPsbtInTurns(psbt, rules));
    assert.ok(turns >= 50, `the event loop came round ${turns} times`);
    assert.deepEqual(result, checkPsbt(psbt, rules));
  });
}

test("a fault in a PSBT is told the same way in turns", async () => {
  const { descriptor } = testWallet("wpkh");
  const rules = rulesFor(descriptor, [{ address: strangerKey("tr", 1).address, amountSats: 5_000n }]);
  await assert.rejects(checkPsbtInTurns("cHNidP8BAAoAAAAAAAAAAAAAAA==", rules), { name: "CairnError" });
});

test("a key derived once is remembered: asking again costs a tenth at most", () => {
  const { descriptor } = testWallet("tr", "remembered");
  const paths = Array.from({ length: 200 }, (_, i) => [0, i] as const);
  const first = milliseconds(() => deriveKeys(descriptor, paths));
  const again = Math.min(...[1, 2, 3].map(() => milliseconds(() => deriveKeys(descriptor, paths))));
  assert.ok(again < first / 10, `first ${first} ms, again ${again} ms`);
});

test("what a caller does to a key changes nobody else's", () => {
  const { descriptor } = testWallet("tr", "altered");
  const key = deriveKey(descriptor, [1, 5]);
  const before = structuredClone(key);
  for (const bytes of [key.publicKey, key.delta, key.xOnlyKey, key.signingKey, key.script]) bytes.fill(0);
  assert.deepEqual(deriveKey(descriptor, [1, 5]), before);
});

test("keys in bulk, in any order and with repeats, are those derived one by one", () => {
  for (const kind of ["wpkh", "tr"] as const) {
    const { descriptor } = testWallet(kind, "bulk");
    const paths = [
      [1, 3],
      [0, 7],
      [1, 3],
      [0, 0x7fffffff],
      [0, 2],
    ] as const;
    const bulk = deriveKeys(descriptor, paths);
    // Another network means another memory.
    const other = testWallet(kind, "bulk", "mainnet").descriptor;
    paths.forEach((path, i) => {
      const { address, ...alone } = deriveKey(other, path);
      const { address: address2, ...together } = bulk[i] ?? assert.fail("one path gives one key");
      assert.deepEqual(together, alone);
      assert.notEqual(address, address2);
    });
  }
  assert.deepEqual(deriveKeys(testWallet("tr").descriptor, []), []);
});

/** A chain that answers at once, whose one transaction pays each of the first `count` receive addresses. */
function crowdedChain(descriptor: Descriptor, count: number): ChainSource {
  const chain = new MemoryChainSource();
  const coins = new Map<string, ChainUtxo>();
  const raws = new Map<string, Uint8Array>();
  const keys = deriveKeys(
    descriptor,
    Array.from({ length: count }, (_, i) => [0, i] as const),
  );
  keys.forEach(({ script }, i) => {
    const { txid, raw } = chain.fund(script, 10_000n + BigInt((i * 7919) % 50_000));
    const amountSats = 10_000n + BigInt((i * 7919) % 50_000);
    coins.set(Buffer.from(script).toString("hex"), {
      outpoint: { txid, vout: 0 },
      amountSats,
      status: { state: "mempool" },
    });
    raws.set(txid, raw);
  });
  return Object.assign(Object.create(chain) as ChainSource, {
    tip: () => chain.tip(),
    async scriptActivity(script: Uint8Array) {
      const coin = coins.get(Buffer.from(script).toString("hex"));
      return { used: coin !== undefined, utxos: coin === undefined ? [] : [coin] };
    },
    async rawTransaction(txid: string) {
      return raws.get(txid) ?? assert.fail("only transactions that were listed are asked for");
    },
  });
}

test("a wallet of 10,000 coins is scanned in many turns, and coins are chosen from it within a second", async () => {
  const { descriptor } = testWallet("wpkh", "crowded");
  const chain = crowdedChain(descriptor, 10_000);
  const first = await countTurns(() => scanWallet({ descriptor }, { chain }));
  assert.equal(first.result.coins.length, 10_000);
  assert.ok(first.turns >= 100, `the event loop came round ${first.turns} times`);
  const again = await countTurns(() => scanWallet({ descriptor, previous: first.result }, { chain }));
  assert.deepEqual(again.result, first.result);
  assert.ok(again.turns >= 100, `the event loop came round ${again.turns} times`);

  const changeScript = deriveKey(descriptor, [1, 0]).script;
  for (const amountSats of [50_000n, 5_000_000n, 30_000_000n]) {
    const took = milliseconds(() =>
      selectCoins(
        {
          kind: "wpkh",
          coins: first.result.coins,
          recipients: [{ script: strangerKey("wpkh", 1).script, amountSats }],
          changeScript,
          feeRate: feeRate(5),
          maxFeeSats: 10_000_000n,
        },
        { random: seededRandom("crowded") },
      ),
    );
    assert.ok(took < 1000, `${amountSats} sat: ${took} ms`);
  }
});
