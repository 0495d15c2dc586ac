import assert from "node:assert/strict";
import { test } from "node:test";
import { concatBytes } from "@cairn/core";
import { hexToBytes } from "@noble/hashes/utils.js";
import fc from "fast-check";
import {
  type ChainSource,
  deriveKey,
  MemoryChainSource,
  scanWallet,
  type WalletCoin,
  type WalletView,
  wire,
} from "../src/index.ts";
import { emptyScanMemory } from "../src/scan-memory.ts";
import { strangerKey, testWallet } from "./test-wallet.ts";

const { descriptor } = testWallet("wpkh", "resting");
const scriptAt = (branch: 0 | 1, index: number) => deriveKey(descriptor, [branch, index]).script;
const stranger = strangerKey("wpkh", 0).script;

/** A wallet on a chain of its own, scanned as a node does: each scan from the view before. */
class ScannedWallet {
  readonly chain = new MemoryChainSource();
  readonly gapLimit: number;
  readonly restingPerScan: { readonly receive: number; readonly change: number };
  view: WalletView | undefined;
  /** Addresses asked for by the last scan. */
  asked = 0;
  /** Addresses that scans passed over so far. */
  spared = 0;

  constructor(gapLimit: number, restingPerScan: { readonly receive: number; readonly change: number }) {
    this.gapLimit = gapLimit;
    this.restingPerScan = restingPerScan;
    this.chain.mine();
  }

  async scan(full = false): Promise<WalletView> {
    this.asked = 0;
    const source: ChainSource = Object.assign(Object.create(this.chain) as ChainSource, {
      tip: () => this.chain.tip(),
      blockHash: (height: number) => this.chain.blockHash(height),
      rawTransaction: (txid: WalletCoin["outpoint"]["txid"]) => this.chain.rawTransaction(txid),
      scriptActivity: (script: Uint8Array) => {
        this.asked += 1;
        return this.chain.scriptActivity(script);
      },
    });
    this.view = await scanWallet(
      {
        descriptor,
        full,
        gapLimit: this.gapLimit,
        restingPerScan: this.restingPerScan,
        ...(this.view === undefined ? {} : { previous: this.view }),
      },
      { chain: source },
    );
    this.spared += this.view.nextReceiveIndex + this.view.nextChangeIndex + 2 * this.gapLimit - this.asked;
    return this.view;
  }

  /** What a scan says now that remembers coins and indexes, and no address at rest. */
  async fullView(): Promise<WalletView> {
    const previous = this.view === undefined ? {} : { previous: { ...this.view, memory: emptyScanMemory } };
    return scanWallet({ descriptor, gapLimit: this.gapLimit, ...previous }, { chain: this.chain });
  }

  /** Scans after which every address had its turn. */
  get bound(): number {
    const { nextReceiveIndex = 0, nextChangeIndex = 0 } = this.view ?? {};
    const { receive, change } = this.restingPerScan;
    return Math.max(1, Math.ceil(nextReceiveIndex / receive), Math.ceil(nextChangeIndex / change));
  }

  /** Spends a coin: half to a stranger, the rest to the next change address. */
  async spend(coin: WalletCoin): Promise<void> {
    const half = coin.amountSats / 2n;
    await this.chain.broadcast(
      concatBytes(
        wire.u32(2),
        wire.compactSize(1),
        hexToBytes(coin.outpoint.txid).reverse(),
        wire.u32(coin.outpoint.vout),
        wire.varBytes(new Uint8Array(0)),
        wire.u32(0xfffffffd),
        wire.compactSize(2),
        wire.u64(half),
        wire.varBytes(stranger),
        wire.u64(coin.amountSats - half),
        wire.varBytes(scriptAt(1, this.view?.nextChangeIndex ?? 0)),
        wire.u32(0),
      ),
    );
  }
}

const facts = ({
  used,
  nextReceiveIndex,
  nextChangeIndex,
  coins,
  confirmedSats,
  unconfirmedSats,
}: WalletView) => ({
  used,
  nextReceiveIndex,
  nextChangeIndex,
  coins,
  confirmedSats,
  unconfirmedSats,
});

async function assertUnspent(wallet: ScannedWallet): Promise<void> {
  for (const { outpoint } of wallet.view?.coins ?? []) {
    assert.deepEqual(await wallet.chain.outspend(outpoint), { spent: false });
  }
}

/** Deposits to the next address and pays it all on, a block each, `count` times, with a scan after every step. */
async function payOn(wallet: ScannedWallet, count: number): Promise<number[]> {
  const asked: number[] = [];
  for (let i = 0; i < count; i++) {
    wallet.chain.fund(scriptAt(0, wallet.view?.nextReceiveIndex ?? 0), 10_000n + BigInt(i));
    wallet.chain.mine();
    const { coins } = await wallet.scan();
    for (const coin of coins) await wallet.spend(coin);
    await wallet.scan();
    wallet.chain.mine();
    await wallet.scan();
    asked.push(wallet.asked);
  }
  return asked;
}

test("what a scan asks for stays the same however many payments there were", async () => {
  const wallet = new ScannedWallet(5, { receive: 3, change: 2 });
  const asked = await payOn(wallet, 40);
  const early = asked.slice(10, 20);
  const late = asked.slice(30);
  assert.ok(wallet.view !== undefined && wallet.view.used.length >= 80);
  assert.ok(Math.max(...late) <= Math.max(...early), `${early} then ${late}`);
  // Two gaps, the turns of those at rest, and per payment one address of each branch in the blocks that may yet go.
  assert.ok(Math.max(...late) <= 2 * 5 + 3 + 2 + 2 * 8, `${late}`);
});

test("a payment to an address at rest is seen within its turns, a payment to the next one at once", async () => {
  const wallet = new ScannedWallet(5, { receive: 3, change: 2 });
  await payOn(wallet, 12);
  const { coins } = wallet.view ?? assert.fail("it was scanned");
  for (const coin of coins) await wallet.spend(coin);
  wallet.chain.mine(10);
  // The first scan sees the last spends confirmed, the next learns the tip above them, the third finds them buried.
  await wallet.scan();
  await wallet.scan();
  wallet.chain.mine(10);
  await wallet.scan();
  const old = [...scriptsOf(0, 9), ...scriptsOf(1, 9)];
  for (const [i, script] of old.entries()) wallet.chain.fund(script, 1_000n + BigInt(i));
  const { nextReceiveIndex } = await wallet.scan();
  const foundAtOnce = (wallet.view?.coins.length ?? 0) - coins.length;
  assert.ok(foundAtOnce < old.length, "addresses at rest are not asked for at each scan");
  wallet.chain.fund(scriptAt(0, nextReceiveIndex), 77_777n);
  const next = await wallet.scan();
  assert.ok(next.coins.some(({ amountSats }) => amountSats === 77_777n));
  for (let i = 0; i < wallet.bound; i++) await wallet.scan();
  assert.deepEqual(facts(wallet.view ?? assert.fail()), facts(await wallet.fullView()));
});

test("a full scan asks for every address", async () => {
  const wallet = new ScannedWallet(5, { receive: 1, change: 1 });
  await payOn(wallet, 12);
  const { nextReceiveIndex, nextChangeIndex } = await wallet.scan();
  const all = nextReceiveIndex + nextChangeIndex + 2 * 5;
  assert.ok(wallet.asked < all);
  wallet.chain.fund(scriptAt(0, 0), 1_000n);
  wallet.chain.fund(scriptAt(1, 0), 1_000n);
  await wallet.scan(true);
  assert.equal(wallet.asked, all);
  assert.deepEqual(facts(wallet.view ?? assert.fail()), facts(await wallet.fullView()));
  await wallet.scan();
  assert.ok(wallet.asked < all, "the next scan passes over what rests again");
});

function scriptsOf(branch: 0 | 1, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, index) => scriptAt(branch, index));
}

test("a reorganisation deeper than any that is trusted not to happen wakes every address at once", async () => {
  const wallet = new ScannedWallet(5, { receive: 1, change: 1 });
  await payOn(wallet, 8);
  for (let i = 0; i < 10; i++) {
    wallet.chain.mine();
    await wallet.scan();
  }
  const resting = wallet.asked;
  wallet.chain.reorganise(20);
  wallet.chain.mine(30);
  const view = await wallet.scan();
  assert.ok(wallet.asked > resting);
  assert.equal(wallet.asked, view.nextReceiveIndex + view.nextChangeIndex + 2 * 5);
  assert.deepEqual(facts(view), facts(await wallet.fullView()));
});

test("a spend that waits and is dropped gives its coin back at once", async () => {
  const wallet = new ScannedWallet(5, { receive: 1, change: 1 });
  await payOn(wallet, 3);
  const { txid } = wallet.chain.fund(scriptAt(0, 3), 50_000n);
  wallet.chain.mine(10);
  const { coins } = await wallet.scan();
  const coin = coins.find(({ outpoint }) => outpoint.txid === txid) ?? assert.fail("the deposit is there");
  await wallet.spend(coin);
  for (let i = 0; i < 5; i++) await wallet.scan();
  const spent = await wallet.chain.outspend(coin.outpoint);
  assert.ok(spent.spent && spent.by !== undefined);
  wallet.chain.evict(spent.by);
  const after = await wallet.scan();
  assert.ok(after.coins.some(({ outpoint }) => outpoint.txid === txid));
});

type Step =
  | { readonly kind: "deposit"; readonly ahead: number }
  | { readonly kind: "payOld"; readonly branch: 0 | 1; readonly pick: number }
  | { readonly kind: "spend"; readonly pick: number }
  | { readonly kind: "mine"; readonly blocks: number }
  | { readonly kind: "reorganise"; readonly depth: number; readonly blocks: number }
  | { readonly kind: "evict"; readonly pick: number }
  | { readonly kind: "scan" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("deposit" as const), ahead: fc.nat(2) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("payOld" as const),
      branch: fc.constantFrom(0 as const, 1 as const),
      pick: fc.nat(50),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("spend" as const), pick: fc.nat(50) }) },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("mine" as const), blocks: fc.integer({ min: 1, max: 8 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("reorganise" as const),
      depth: fc.integer({ min: 1, max: 6 }),
      blocks: fc.nat(7),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("evict" as const), pick: fc.nat(50) }) },
  { weight: 8, arbitrary: fc.constant({ kind: "scan" as const }) },
);

/** Lets one thing happen to the wallet. */
async function take(wallet: ScannedWallet, did: Step): Promise<void> {
  const { chain, view } = wallet;
  switch (did.kind) {
    case "deposit":
      chain.fund(scriptAt(0, (view?.nextReceiveIndex ?? 0) + did.ahead), 30_000n);
      return;
    case "payOld": {
      const next = (did.branch === 0 ? view?.nextReceiveIndex : view?.nextChangeIndex) ?? 0;
      if (next > 0) chain.fund(scriptAt(did.branch, did.pick % next), 20_000n);
      return;
    }
    case "spend": {
      const coins = view?.coins ?? [];
      const coin = coins[did.pick % Math.max(1, coins.length)];
      if (coin === undefined || coin.amountSats < 2n) return;
      // The view may be old.
      const spent = await chain.outspend(coin.outpoint).catch(() => ({ spent: true }));
      if (!spent.spent) await wallet.spend(coin);
      return;
    }
    case "mine":
      return chain.mine(did.blocks);
    case "reorganise":
      chain.reorganise(did.depth);
      return chain.mine(did.blocks);
    case "evict": {
      // What spends a known coin, as long as nothing spends it in turn: an orphan would be no chain's state.
      const coins = view?.coins ?? [];
      const coin = coins[did.pick % Math.max(1, coins.length)];
      if (coin === undefined) return;
      const spend = await chain.outspend(coin.outpoint).catch(() => undefined);
      if (spend?.spent !== true || spend.by === undefined || spend.status.state !== "mempool") return;
      const { by } = spend;
      for (const vout of [0, 1]) if ((await chain.outspend({ txid: by, vout })).spent) return;
      return chain.evict(by);
    }
    case "scan":
      await wallet.scan();
      return assertUnspent(wallet);
    default:
      did satisfies never;
  }
}

test("after as many scans as there are turns, a view says what a full scan says, whatever happened", async () => {
  let spared = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 40, maxLength: 120, size: "max" }), async (steps) => {
      const wallet = new ScannedWallet(4, { receive: 2, change: 1 });
      await wallet.scan();
      for (const did of steps) await take(wallet, did);
      await wallet.scan();
      for (let i = 0; i < wallet.bound; i++) {
        await wallet.scan();
        await assertUnspent(wallet);
      }
      spared += wallet.spared;
      const view = wallet.view ?? assert.fail("it was scanned");
      assert.deepEqual(facts(view), facts(await wallet.fullView()));
    }),
    { numRuns: 100, endOnFailure: true },
  );
  assert.ok(spared > 1_000, `${spared} questions were spared: the histories leave addresses at rest`);
});

test("where nobody pays to an old address, every scan says what a full scan says", async () => {
  let spared = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 40, maxLength: 120, size: "max" }), async (steps) => {
      const wallet = new ScannedWallet(4, { receive: 1, change: 1 });
      await wallet.scan();
      for (const did of steps) {
        if (did.kind === "payOld") continue;
        await take(wallet, did);
        if (did.kind === "scan") {
          assert.deepEqual(facts(wallet.view ?? assert.fail()), facts(await wallet.fullView()));
        }
      }
      spared += wallet.spared;
    }),
    { numRuns: 60, endOnFailure: true },
  );
  assert.ok(spared > 1_000, `${spared} questions were spared: the histories leave addresses at rest`);
});
