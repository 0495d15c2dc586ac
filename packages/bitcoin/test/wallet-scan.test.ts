import assert from "node:assert/strict";
import { test } from "node:test";
import { equalBytes } from "@cairn/core";
import fc from "fast-check";
import {
  buildPsbt,
  type ChainSource,
  checkPsbt,
  deriveKey,
  encodePsbt,
  feeRate,
  finalizeSpend,
  MemoryChainSource,
  scanWallet,
  selectCoins,
} from "../src/index.ts";
import { rejectsReason } from "./assert-reason.ts";
import { rulesFor, seededRandom, strangerKey, testWallet } from "./test-wallet.ts";

const wallet = testWallet("tr");
const { descriptor } = wallet;
const scriptAt = (branch: 0 | 1, index: number) => deriveKey(descriptor, [branch, index]).script;

/** `chain`, counting what is asked. */
function counting(chain: MemoryChainSource) {
  const counts = { scripts: 0, raw: 0, open: 0, most: 0 };
  const source: ChainSource = {
    tip: () => chain.tip(),
    blockHash: (height) => chain.blockHash(height),
    transactionStatus: (txid) => chain.transactionStatus(txid),
    outspend: (outpoint) => chain.outspend(outpoint),
    inclusion: (txid) => chain.inclusion(txid),
    feeEstimates: () => chain.feeEstimates(),
    broadcast: (raw) => chain.broadcast(raw),
    scriptActivity: async (script) => {
      counts.scripts += 1;
      counts.open += 1;
      counts.most = Math.max(counts.most, counts.open);
      await new Promise((resolve) => setImmediate(resolve));
      counts.open -= 1;
      return chain.scriptActivity(script);
    },
    rawTransaction: (txid) => {
      counts.raw += 1;
      return chain.rawTransaction(txid);
    },
  };
  return { source, counts };
}

test("an empty wallet is asked for twenty addresses of each branch", async () => {
  const { source, counts } = counting(new MemoryChainSource());
  const view = await scanWallet({ descriptor }, { chain: source });
  assert.equal(counts.scripts, 40);
  assert.ok(counts.most <= 8);
  assert.deepEqual(view, {
    used: [],
    nextReceiveIndex: 0,
    nextChangeIndex: 0,
    coins: [],
    confirmedSats: 0n,
    unconfirmedSats: 0n,
    memory: {
      tips: [await source.tip()],
      branches: [
        { quiet: new Map(), turn: 0 },
        { quiet: new Map(), turn: 0 },
      ],
    },
  });
});

test("coins on both branches are found with their paths, amounts and previous transactions", async () => {
  const chain = new MemoryChainSource();
  const first = chain.fund(scriptAt(0, 3), 10_000n);
  chain.mine();
  chain.fund(scriptAt(1, 19), 500n);
  const view = await scanWallet({ descriptor }, { chain });
  assert.equal(view.nextReceiveIndex, 4);
  assert.equal(view.nextChangeIndex, 20);
  assert.equal(view.confirmedSats, 10_000n);
  assert.equal(view.unconfirmedSats, 500n);
  assert.deepEqual(
    view.used.map((entry) => entry.path),
    [
      [0, 3],
      [1, 19],
    ],
  );
  const coin = view.coins.find((c) => c.path[0] === 0);
  assert.deepEqual(coin?.previousTransaction, first.raw);
});

test("a deposit moves the gap; one beyond it is not found", async () => {
  const chain = new MemoryChainSource();
  chain.fund(scriptAt(0, 19), 1_000n);
  chain.fund(scriptAt(0, 39), 2_000n);
  chain.fund(scriptAt(0, 60), 4_000n);
  const view = await scanWallet({ descriptor }, { chain });
  assert.equal(view.nextReceiveIndex, 40);
  assert.equal(view.unconfirmedSats, 3_000n);
});

test("a later scan fetches no transaction twice and never takes an index back", async () => {
  const chain = new MemoryChainSource();
  const { txid } = chain.fund(scriptAt(0, 5), 1_000n);
  chain.fund(scriptAt(0, 0), 3_000n);
  const { source, counts } = counting(chain);
  const first = await scanWallet({ descriptor }, { chain: source });
  assert.equal(counts.raw, 2);
  chain.evict(txid);
  chain.fund(scriptAt(1, 0), 2_000n);
  const second = await scanWallet({ descriptor, previous: first }, { chain: source });
  assert.equal(counts.raw, 3);
  assert.equal(second.nextReceiveIndex, 6, "an address that was shown as used is never offered again");
  assert.equal(second.unconfirmedSats, 5_000n);
});

test("amounts come from the transaction, whatever the source says", async () => {
  const chain = new MemoryChainSource();
  chain.fund(scriptAt(0, 0), 1_000n);
  const { source } = counting(chain);
  const inflating: ChainSource = {
    ...source,
    scriptActivity: async (script) => {
      const { used, utxos } = await chain.scriptActivity(script);
      return { used, utxos: utxos.map((utxo) => ({ ...utxo, amountSats: 21_000_000n })) };
    },
  };
  assert.equal((await scanWallet({ descriptor }, { chain: inflating })).unconfirmedSats, 1_000n);
});

test("a listed coin that its transaction does not pay to the wallet fails the scan", async () => {
  const chain = new MemoryChainSource();
  const { txid } = chain.fund(strangerKey("tr", 0).script, 1_000n);
  const { source } = counting(chain);
  for (const vout of [0, 1]) {
    const inventing: ChainSource = {
      ...source,
      scriptActivity: async (script) => ({
        used: false,
        utxos: equalBytes(script, scriptAt(0, 0))
          ? [{ outpoint: { txid, vout }, amountSats: 1_000n, status: { state: "mempool" } }]
          : [],
      }),
    };
    await assert.rejects(scanWallet({ descriptor, gapLimit: 1 }, { chain: inventing }), /contradicts/);
  }
});

test("a source that calls every address used does not keep the scan going for ever", async () => {
  const { source } = counting(new MemoryChainSource());
  const endless: ChainSource = { ...source, scriptActivity: async () => ({ used: true, utxos: [] }) };
  await rejectsReason(
    scanWallet({ descriptor, maxAddresses: 60 }, { chain: endless }),
    "chain-answer-invalid",
  );
});

test("from scan to confirmed: payments leave exactly what the wallet's own arithmetic says", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("wpkh" as const, "tr" as const),
      fc.array(fc.bigInt({ min: 20_000n, max: 900_000n }), { minLength: 1, maxLength: 6 }),
      fc.bigInt({ min: 1_000n, max: 15_000n }),
      async (kind, deposits, amountSats) => {
        const payer = testWallet(kind, "payer");
        const chain = new MemoryChainSource();
        deposits.forEach((amount, i) => {
          chain.fund(deriveKey(payer.descriptor, [0, i]).script, amount);
        });
        chain.mine();
        let view = await scanWallet({ descriptor: payer.descriptor }, { chain });
        for (let round = 0; round < 2; round++) {
          const payee = strangerKey("wpkh", round);
          const recipients = [{ script: payee.script, amountSats }];
          if (view.confirmedSats < amountSats + 3_000n) return;
          const changeIndex = view.nextChangeIndex;
          const selection = selectCoins(
            {
              kind,
              coins: view.coins,
              recipients,
              changeScript: deriveKey(payer.descriptor, [1, changeIndex]).script,
              feeRate: feeRate(2),
              maxFeeSats: 20_000n,
            },
            { random: seededRandom(String(round)) },
          );
          const { height } = await chain.tip();
          const psbt = buildPsbt({
            descriptor: payer.descriptor,
            coins: selection.coins.map((coin) => ({ ...coin, vout: coin.outpoint.vout })),
            recipients,
            change:
              selection.changeSats === undefined
                ? undefined
                : { amountSats: selection.changeSats, index: changeIndex, position: round },
            lockTime: height,
          });
          const rules = rulesFor(payer.descriptor, [{ address: payee.address, amountSats }], {
            maxFeeSats: 20_000n,
            tipHeight: height,
            nextChangeIndex: changeIndex,
          });
          const spend = checkPsbt(encodePsbt(psbt), rules);
          assert.equal(spend.feeSats, selection.feeSats);
          await chain.broadcast(finalizeSpend(spend, payer.sign(spend)).raw);
          chain.mine();
          const after = await scanWallet({ descriptor: payer.descriptor, previous: view }, { chain });
          assert.equal(after.confirmedSats, view.confirmedSats - amountSats - selection.feeSats);
          view = after;
        }
      },
    ),
    { numRuns: 15, endOnFailure: true },
  );
});
