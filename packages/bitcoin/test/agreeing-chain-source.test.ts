import assert from "node:assert/strict";
import { test } from "node:test";
import { txidSchema } from "@cairn/core";
import { ManualClock } from "@cairn/core/test-support";
import { bitcoinError } from "../src/bitcoin-error.ts";
import {
  AgreeingChainSource,
  type ChainSource,
  deriveKey,
  feeRate,
  MemoryChainSource,
} from "../src/index.ts";
import { rejectsReason } from "./assert-reason.ts";
import { testWallet } from "./test-wallet.ts";

const own = deriveKey(testWallet("wpkh").descriptor, [0, 0]);
const fake = txidSchema.parse("fa".repeat(32));

/** `chain` with some of its answers replaced. */
function lying(chain: ChainSource, lies: Partial<ChainSource>): ChainSource {
  return {
    tip: () => chain.tip(),
    blockHash: (height) => chain.blockHash(height),
    scriptActivity: (script) => chain.scriptActivity(script),
    transactionStatus: (txid) => chain.transactionStatus(txid),
    outspend: (outpoint) => chain.outspend(outpoint),
    rawTransaction: (txid) => chain.rawTransaction(txid),
    inclusion: (txid) => chain.inclusion(txid),
    feeEstimates: () => chain.feeEstimates(),
    broadcast: (raw) => chain.broadcast(raw),
    ...lies,
  };
}

const down = () => Promise.reject(bitcoinError("chain-unavailable", "down"));

function dead(): ChainSource {
  return lying(new MemoryChainSource(), {
    tip: down,
    blockHash: down,
    scriptActivity: down,
    transactionStatus: down,
    outspend: down,
    rawTransaction: down,
    feeEstimates: down,
    broadcast: down,
  });
}

function agree(sources: readonly ChainSource[], clock = new ManualClock(), coolDownMs = 1_000) {
  return new AgreeingChainSource({ sources, coolDownMs }, { clock });
}

function scene() {
  const chain = new MemoryChainSource();
  const funding = chain.fund(own.script, 50_000n);
  chain.mine(3);
  return { chain, funding, outpoint: { txid: funding.txid, vout: 0 } };
}

test("a lying source inflates no balance", async () => {
  const { chain, outpoint } = scene();
  const liar = lying(chain, {
    scriptActivity: async () => ({
      used: true,
      utxos: [
        { outpoint, amountSats: 99_000_000n, status: { state: "mempool" } },
        { outpoint: { txid: fake, vout: 0 }, amountSats: 1n, status: { state: "mempool" } },
        { outpoint: { txid: fake, vout: 0 }, amountSats: 1n, status: { state: "mempool" } },
        { outpoint: { txid: fake, vout: 0 }, amountSats: 1n, status: { state: "mempool" } },
      ],
    }),
  });
  for (const sources of [
    [liar, chain, chain],
    [chain, liar],
  ]) {
    const { utxos } = await agree(sources).scriptActivity(own.script);
    assert.deepEqual(
      utxos.map((utxo) => [utxo.outpoint, utxo.amountSats]),
      [[outpoint, 50_000n]],
    );
  }
});

test("what a script has settled is what a majority counts, and unknown without one", async () => {
  const { chain } = scene();
  chain.mine();
  const telling = (settled?: number) =>
    lying(chain, {
      scriptActivity: async () => ({ used: true, utxos: [], ...(settled === undefined ? {} : { settled }) }),
    });
  const settledOf = async (...sources: ChainSource[]) =>
    (await agree(sources).scriptActivity(own.script)).settled;
  assert.equal(await settledOf(telling(2), telling(7), telling(2)), 2);
  assert.equal(await settledOf(telling(2), telling(), telling(2)), 2);
  assert.equal(await settledOf(telling(), telling(2), telling()), undefined);
  assert.equal(await settledOf(telling(2), telling(7)), undefined);
  assert.equal(await settledOf(telling(0), telling(0)), 0);
});

test("a spend that one source hides is seen through the others", async () => {
  const { chain, outpoint } = scene();
  const spent = lying(chain, {
    outspend: async () => ({ spent: true, by: fake, status: { state: "mempool" } }),
  });
  const hiding = lying(chain, { outspend: async () => ({ spent: false }) });
  assert.deepEqual(await agree([hiding, spent, hiding]).outspend(outpoint), {
    spent: true,
    by: fake,
    status: { state: "mempool" },
  });
});

test("a confirmation needs a majority that names the same block", async () => {
  const { chain, funding } = scene();
  const early = lying(chain, {
    transactionStatus: async () => ({ state: "confirmed", blockHeight: 1, blockHash: "ee".repeat(32) }),
  });
  const waiting = lying(chain, { transactionStatus: async () => ({ state: "mempool" }) });
  assert.deepEqual(await agree([early, waiting, waiting]).transactionStatus(funding.txid), {
    state: "mempool",
  });
  assert.deepEqual(await agree([early, chain, waiting]).transactionStatus(funding.txid), {
    state: "mempool",
  });
  const real = await chain.transactionStatus(funding.txid);
  assert.deepEqual(await agree([early, chain, chain]).transactionStatus(funding.txid), real);
});

test("the tip is one that a majority has reached", async () => {
  const { chain } = scene();
  const boasting = lying(chain, { tip: async () => ({ height: 9_999_999, hash: "bb".repeat(32) }) });
  const lagging = lying(chain, { tip: async () => ({ height: 1, hash: "aa".repeat(32) }) });
  assert.equal((await agree([boasting, chain, lagging]).tip()).height, 3);
  assert.equal((await agree([boasting, chain]).tip()).height, 3);
  assert.equal((await agree([lagging]).tip()).height, 1);
});

test("different blocks at one height are an error to ask again about", async () => {
  const { chain } = scene();
  const forked = lying(chain, { blockHash: async () => "cc".repeat(32) });
  await rejectsReason(agree([chain, forked]).blockHash(2), "chain-sources-disagree");
  assert.equal(await agree([chain, forked, chain]).blockHash(2), await chain.blockHash(2));
});

test("forged fees do not move the median", async () => {
  const { chain } = scene();
  chain.setFeeEstimates([{ targetBlocks: 6, rate: feeRate(5) }]);
  const greedy = lying(chain, { feeEstimates: async () => [{ targetBlocks: 6, rate: feeRate(9_000) }] });
  assert.deepEqual(await agree([greedy, chain, chain]).feeEstimates(), [
    { targetBlocks: 6, rate: feeRate(5) },
  ]);
  assert.deepEqual(await agree([greedy, chain]).feeEstimates(), [{ targetBlocks: 6, rate: feeRate(5) }]);
});

test("a failed source is left alone until its cool-down ends", async () => {
  const { chain } = scene();
  const clock = new ManualClock();
  let asked = 0;
  const failing = lying(chain, {
    tip: () => {
      asked += 1;
      return down();
    },
  });
  const source = agree([failing, chain], clock);
  await source.tip();
  assert.deepEqual(source.health(), { healthy: 1, total: 2 });
  await source.tip();
  assert.equal(asked, 1);
  clock.advance(1_001);
  assert.deepEqual(source.health(), { healthy: 2, total: 2 });
  await source.tip();
  assert.equal(asked, 2);
});

test("when the healthy ones fail, those that cool down are asked", async () => {
  const { chain } = scene();
  let firstWorks = false;
  let secondWorks = true;
  const first = lying(chain, { tip: () => (firstWorks ? chain.tip() : down()) });
  const second = lying(chain, { tip: () => (secondWorks ? chain.tip() : down()) });
  const source = agree([first, second]);
  await source.tip();
  firstWorks = true;
  secondWorks = false;
  assert.equal((await source.tip()).height, 3);
});

test("a raw transaction comes from whoever has it", async () => {
  const { chain, funding } = scene();
  const empty = new MemoryChainSource();
  assert.deepEqual(await agree([dead(), empty, chain]).rawTransaction(funding.txid), funding.raw);
  await rejectsReason(agree([dead(), empty]).rawTransaction(funding.txid), "chain-not-found");
});

test("a broadcast reaches every source, and one acceptance is enough", async () => {
  const reached: string[] = [];
  const { chain, funding } = scene();
  const note = (name: string, outcome: () => Promise<never> | Promise<typeof funding.txid>) =>
    lying(chain, {
      broadcast: () => {
        reached.push(name);
        return outcome();
      },
    });
  const refusing = () => Promise.reject(bitcoinError("chain-rejected", "min relay fee not met"));
  const source = agree([
    note("dead", down),
    note("refusing", refusing),
    note("taking", async () => funding.txid),
  ]);
  assert.equal(await source.broadcast(funding.raw), funding.txid);
  assert.deepEqual(reached.sort(), ["dead", "refusing", "taking"]);
  await rejectsReason(
    agree([note("dead", down), note("refusing", refusing)]).broadcast(funding.raw),
    "chain-rejected",
  );
});

test("a broadcast does not wait for a source that hangs", async () => {
  const { chain, funding } = scene();
  const hanging = lying(chain, { broadcast: () => new Promise(() => {}) });
  assert.equal(await agree([hanging, chain]).broadcast(funding.raw), funding.txid);
});

test("when nobody answers, the chain is unavailable", async () => {
  const source = agree([dead(), dead()]);
  await rejectsReason(source.tip(), "chain-unavailable");
  await rejectsReason(source.broadcast(new Uint8Array()), "chain-unavailable");
  assert.throws(() => agree([]), RangeError);
});

test("a source that is far apart from the others, or on another chain, is named for as long as it is", async () => {
  const { chain } = scene();
  const clock = new ManualClock();
  const tip = await chain.tip();
  const hash = await chain.blockHash(tip.height);
  let [height, block] = [tip.height + 3, hash];
  const odd = lying(chain, {
    tip: async () => ({ ...tip, height }),
    blockHash: async () => block,
  });
  const sources = agree([chain, odd, chain], clock);
  await sources.tip();
  await sources.blockHash(tip.height);
  assert.deepEqual(sources.dissenting(), []);

  height += 1;
  const since = clock.now();
  await sources.tip();
  clock.advance(60_000);
  block = "ab".repeat(32);
  await sources.blockHash(tip.height);
  assert.deepEqual(sources.dissenting(), [{ source: 2, since }]);
  height = tip.height;
  await sources.tip();
  assert.deepEqual(sources.dissenting(), [{ source: 2, since: since + 60_000 }]);
  block = hash;
  await sources.blockHash(tip.height);
  assert.deepEqual(sources.dissenting(), []);
});
