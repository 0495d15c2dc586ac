import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryChainSource } from "@cairn/bitcoin";
import { CairnError, type IntentHash, isCairnError, type NodeIndex, type Txid } from "@cairn/core";
import { ManualClock } from "@cairn/core/test-support";
import { ChainWatch, type ChainWatchModules } from "../src/index.ts";

const intentOf = (n: number) => n.toString(16).padStart(64, "0") as IntentHash;
const txidOf = (n: number) => (n + 1_000).toString(16).padStart(64, "0") as Txid;

/** A watch over `count` spends that wait for their first confirmation, at a chain that notes what it is asked and answers when told. */
function watchOf(count: number) {
  const chain = new MemoryChainSource();
  const clock = new ManualClock();
  const asked: Txid[] = [];
  let gate: Promise<void> = Promise.resolve();
  let failure: CairnError | null = null;
  const source = Object.assign(Object.create(chain) as MemoryChainSource, {
    tip: async () => {
      if (failure !== null) throw failure;
      return chain.tip();
    },
    transactionStatus: async (txid: Txid) => {
      asked.push(txid);
      await gate;
      return { state: "mempool" as const };
    },
    outspend: async () => ({ spent: false as const }),
  });
  const spends = Array.from({ length: count }, (_, n) => ({
    row: {
      intent: intentOf(n),
      txid: txidOf(n),
      signedTx: "00",
      state: "broadcasting",
      outpoints: [],
      certificate: null,
      metadata: "{}",
      createdAt: 0,
    },
    voting: { tally: { conflictDepth: 0 } },
  }));
  const watch = new ChainWatch({ me: 1 as NodeIndex, pollMs: 30_000 }, {
    loop: { run: async () => {} },
    chain: source,
    clock,
    spends: {
      all: () => spends,
      get: (hash: IntentHash) => spends.find(({ row }) => row.intent === hash),
    },
    moved: () => {},
    report: (cause: unknown) => {
      throw cause;
    },
  } as unknown as ChainWatchModules);
  return {
    watch,
    clock,
    asked,
    hold: () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      return resolve;
    },
    fail: (error: CairnError | null) => {
      failure = error;
    },
  };
}

test("a look that is asked for asks the chain for that spend alone, and tells the chain's height", async () => {
  const { watch, asked } = watchOf(3);
  assert.equal(watch.tipHeight, null);
  await watch.refresh(intentOf(1));
  assert.deepEqual(asked, [txidOf(1)]);
  assert.notEqual(watch.tipHeight, null);
  await watch.refresh("ff".repeat(32) as IntentHash);
  assert.deepEqual(asked, [txidOf(1)]);
});

test("callers cannot hammer the chain source: those at once share one look, and so do those within five seconds", async () => {
  const { watch, clock, asked, hold } = watchOf(1);
  const release = hold();
  const looks = Array.from({ length: 50 }, () => watch.refresh(intentOf(0)));
  release();
  await Promise.all(looks);
  clock.advance(4_999);
  await watch.refresh(intentOf(0));
  assert.equal(asked.length, 1);
  clock.advance(1);
  await watch.refresh(intentOf(0));
  assert.equal(asked.length, 2);
});

test("looks at different spends, and the node's own, are made one after another, and too many that wait are refused", async () => {
  const { watch, asked, hold } = watchOf(80);
  const release = hold();
  const looks = Array.from({ length: 64 }, (_, n) => watch.refresh(intentOf(n)));
  await assert.rejects(watch.refresh(intentOf(70)), (error) => isCairnError(error, "busy"));
  await new Promise(setImmediate);
  assert.deepEqual(asked, [txidOf(0)]);
  const own = watch.look();
  await new Promise(setImmediate);
  assert.equal(asked.length, 1);
  release();
  await Promise.all([...looks, own]);
  assert.equal(asked.length, 64 + 80);
  await watch.close();
});

test("whoever asks hears that the chain source fails, and the next look is made as if nothing had been", async () => {
  const { watch, clock, asked, fail } = watchOf(1);
  fail(new CairnError("chain-unavailable", "no chain source answers in this test; mend it"));
  for (let n = 0; n < 3; n += 1) {
    await assert.rejects(watch.refresh(intentOf(0)), (error) => isCairnError(error, "chain-unavailable"));
  }
  fail(null);
  clock.advance(5_000);
  await watch.refresh(intentOf(0));
  assert.deepEqual(asked, [txidOf(0)]);
});
