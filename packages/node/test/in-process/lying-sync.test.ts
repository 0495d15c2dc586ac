import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import { certificateSchema, type Intent, intentHash, intentSchema } from "@cairn/consensus";
import {
  amnesiaWrite,
  type Courier,
  decodeCanonical,
  encodeCanonical,
  type IntentHash,
  type NodeIndex,
  type PeerMessage,
  type Sats,
  type SyncAnswer,
  type SyncRecord,
  syncAnswerSchema,
  type UnixMs,
  type WalletRecord,
} from "@cairn/core";
import { MemoryDisk, openMemoryStore } from "@cairn/storage";
import { z } from "zod";
import { InProcessCluster } from "./cluster.ts";

const recipient = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const five = 5 as NodeIndex;
const liar = 1 as NodeIndex;
let cluster: InProcessCluster;
let paid: readonly IntentHash[] = [];
let epoch = 0;
/** What node 1 makes of its answers to node 5. */
let lie: (answer: SyncAnswer) => SyncAnswer = (answer) => answer;
/** Whether it has said anything else than the truth since node 5 lost its database. */
let lied = false;

function lying(courier: Courier): Courier {
  return new Proxy(courier, {
    get(target, name) {
      if (name === "send") {
        return (to: NodeIndex, message: PeerMessage) => {
          if (message.kind !== "sync-answer" || to !== five) return target.send(to, message);
          const payload = encodeCanonical(lie(decodeCanonical(syncAnswerSchema, message.payload)));
          lied ||= Buffer.compare(payload, message.payload) !== 0;
          target.send(to, { ...message, payload });
        };
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

before(async () => {
  cluster = await InProcessCluster.start({
    audit: { fenceMs: 300 },
    tampering: (index) => (index === liar ? { courier: lying } : undefined),
  });
  const record = await cluster.makeWallet("frost");
  const intents: IntentHash[] = [];
  for (let at = 0; at < 3; at += 1) intents.push(await pay(record, at));
  paid = intents;
});
after(() => cluster.close());

async function pay(record: WalletRecord, at: number): Promise<IntentHash> {
  const [booked] = cluster.node(1).runtime.wallets.all();
  assert.ok(booked);
  const { address } = deriveKey(booked.descriptor, [0, at]);
  cluster.chain.fund(decodeAddress(address, "regtest").script, 500_000n);
  cluster.chain.mine(1);
  const { body, signature } = cluster.spendRequest(record, {
    outputs: [{ address: recipient, amountSats: 100_000n as Sats }],
  });
  const { intent } = await cluster.node(1).runtime.submit(body, signature);
  const certified = async (index: number) => {
    const row = await cluster.node(index).store.transaction({ intent });
    return row?.signedTx != null && row.certificate !== null;
  };
  await cluster.until(
    async () => (await Promise.all([1, 2, 3, 4, 5].map(certified))).every(Boolean),
    60_000,
    () => "not all know the signed transaction",
  );
  return intent;
}

/** Node 5 loses its database until it has asked node 1 for something to lie about: who comes first has the most to tell. */
async function loseAndAsk(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) {
    lied = false;
    await loseOnce();
    if (lied) return;
  }
  assert.fail("node 1 was never asked");
}

/** Node 5 loses its database but for its keys, and asks the others, among whom node 1 lies. */
async function loseOnce(): Promise<void> {
  const { store } = cluster.node(5);
  const disk = new MemoryDisk();
  const [keys, wallets] = await Promise.all([store.keys(), store.wallets()]);
  const states = await Promise.all(keys.map(({ keyId }) => store.meta(`keygen/${keyId}`)));
  await cluster.node(5).stop();
  const fresh = openMemoryStore({ disk });
  for (const [at, row] of keys.entries()) {
    const value = states[at];
    assert.ok(value);
    await fresh.commit([
      { write: "key", row },
      { write: "meta", key: `keygen/${row.keyId}`, value },
    ]);
  }
  for (const row of wallets) await fresh.commit([{ write: "wallet", row }]);
  await fresh.commit([amnesiaWrite(Date.now() as UnixMs)]);
  await fresh.close();
  epoch += 1;
  cluster.restore(5, { disk, epoch });
  await cluster.startNode(five);
  await cluster.until(
    () => !cluster.node(5).runtime.sync.status().abstains,
    60_000,
    () => `node 5 abstains still: ${JSON.stringify(cluster.node(5).runtime.sync.status())}`,
  );
  for (const intent of paid) {
    const mine = await cluster.node(5).store.transaction({ intent });
    const theirs = await cluster.node(2).store.transaction({ intent });
    assert.equal(mine?.signedTx, theirs?.signedTx);
    assert.notEqual(mine?.certificate ?? null, null);
  }
  const all = await cluster.node(5).store.transactions({ limit: 100 });
  assert.equal(all.length, paid.length, "something came in that nobody paid");
}

const heard = () => cluster.node(5).runtime.sync.status().recollection?.heard;
const standing = () =>
  cluster
    .node(5)
    .runtime.sync.status()
    .peers.find(({ node }) => node === liar);

const finalShape = z.looseObject({ signatures: z.array(z.instanceof(Uint8Array)) });

/** What node 5 holds against node 1. */
async function violations(): Promise<readonly string[]> {
  const rows = await cluster.node(5).store.violations({ node: liar, limit: 9 });
  return [...new Set(rows.map(({ type, action }) => `${type} ${action}`))];
}

function onRecords(change: (record: SyncRecord) => SyncRecord): (answer: SyncAnswer) => SyncAnswer {
  return (answer) => ({ ...answer, records: answer.records.map(change) });
}

const altered = (kind: SyncRecord["kind"], change: (body: Uint8Array) => Uint8Array) =>
  onRecords((record) =>
    record.kind === kind ? { kind, body: new Uint8Array(change(record.body)) } : record,
  );

/** The last byte of a signature or the like: the structure stays one. */
function flipped(body: Uint8Array): Uint8Array {
  const copy = new Uint8Array(body);
  copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
  return copy;
}

test("signatures that do not sign the payment are refused, and exclude who handed them over", async () => {
  lie = altered("final", (body) => {
    const final = decodeCanonical(finalShape, body);
    return encodeCanonical({ ...final, signatures: final.signatures.map(flipped) });
  });
  await loseAndAsk();
  assert.deepEqual(await violations(), ["InvalidSignature exclude"]);
  assert.deepEqual(heard(), [2, 3, 4]);
});

test("a request that its owner did not sign so is refused, and excludes who handed it over", async () => {
  lie = altered("intent", (body) => {
    const intent: Intent = decodeCanonical(intentSchema, body);
    const request = { ...intent.request.body, maxFeeSats: (intent.request.body.maxFeeSats + 1n) as Sats };
    return encodeCanonical({ ...intent, request: { ...intent.request, body: request } });
  });
  await loseAndAsk();
  assert.deepEqual(await violations(), ["InvalidSignature exclude"]);
  assert.deepEqual(heard(), [2, 3, 4]);
});

test("a certificate of too few votes proves nothing, and neither does one of another spend", async () => {
  lie = altered("certificate", (body) => {
    const certificate = decodeCanonical(certificateSchema, body);
    return encodeCanonical({ ...certificate, votes: certificate.votes.slice(1) });
  });
  await loseAndAsk();
  assert.deepEqual(heard(), [2, 3, 4]);
  let other: Uint8Array | null = null;
  lie = altered("certificate", (body) => {
    const before = other ?? body;
    other = body;
    return before;
  });
  await loseAndAsk();
  assert.deepEqual(heard(), [2, 3, 4]);
});

test("whoever names spends and hands none over has not told all; the others' word is enough", async () => {
  lie = (answer) => ({ ...answer, records: answer.topic === "spends" ? [] : answer.records });
  await loseAndAsk();
  assert.deepEqual(heard(), [2, 3, 4]);
  assert.deepEqual(standing()?.state, "failed");
  assert.ok((standing()?.withheld ?? 0) > 0);
});

test("whoever names spends that nobody made, page after page, ends its turn without an effect", async () => {
  let page = 0;
  lie = (answer) => {
    if (answer.topic !== "spends") return answer;
    page += 1;
    const made = (at: number) => `${page}`.padStart(32, "0") + `${at}`.padStart(32, "0");
    return {
      ...answer,
      records: [],
      holdings: answer.records.length > 0 ? [] : Array.from({ length: 20 }, (_, at) => holding(made(at))),
      cursor: `${page}/${made(0)}`,
      more: true,
    };
  };
  await loseAndAsk();
  assert.deepEqual(heard(), [2, 3, 4]);
});

test("whoever leaves out everything is heard, and what it left out comes from the others", async () => {
  lie = (answer) => ({ ...answer, holdings: [], records: [], more: false });
  await loseAndAsk();
  assert.deepEqual(await violations(), []);
});

test("records of other spends than were asked for are refused", async () => {
  let known: readonly SyncRecord[] = [];
  lie = (answer) => {
    if (answer.topic !== "spends" || answer.records.length === 0) return answer;
    const first = answer.records.slice(0, 1);
    known = known.length === 0 ? first : known;
    const [begin] = known;
    assert.ok(begin);
    const intent = decodeCanonical(intentSchema, begin.body);
    assert.ok(paid.includes(intentHash(intent)));
    return { ...answer, records: [begin, begin] };
  };
  await loseAndAsk();
  assert.deepEqual(heard(), [2, 3, 4]);
});

function holding(intent: string): SyncAnswer["holdings"][number] {
  return {
    intent: intent as IntentHash,
    certified: true,
    signed: true,
    votes: 4,
    voids: 0,
    yours: [1],
    yourVoid: true,
  };
}
