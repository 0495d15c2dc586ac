import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CairnError,
  decodeCanonical,
  type HashHex,
  isCairnError,
  type KeyId,
  type NodeIndex,
  type SignedVerifiedBackup,
  type StoreWrite,
  sha256Hex,
  signedVerifiedBackupSchema,
  signVerifiedBackup,
  type UnixMs,
  type VerifiedBackup,
} from "@cairn/core";
import { namedSigner, openPolicy, testManifest } from "@cairn/core/test-support";
import { BackupDesk } from "../src/backup-desk.ts";
import type { KeyProgress } from "../src/live-keys.ts";
import { Loop } from "../src/loop.ts";
import { ManifestBook } from "../src/manifest-book.ts";

const hashOf = (name: string) => sha256Hex(Buffer.from(name)) as string;
const key = hashOf("key") as KeyId;
const manifest = testManifest(
  [1, 2, 3].map((index) => ({ identity: namedSigner(`node ${index}`).publicKey })),
  { createdAt: 0 },
);
const operator = (index: number) => namedSigner(`operator ${index}`);

function wordOf(node: number, change: Partial<VerifiedBackup> = {}): SignedVerifiedBackup {
  return signVerifiedBackup(
    {
      version: 1,
      cluster: manifest.cluster,
      node: node as NodeIndex,
      backup: hashOf(`backup of ${node}`) as HashHex,
      keys: [{ keyId: key, epoch: 0 }],
      createdAt: 10 as UnixMs,
      verifiedAt: 20 as UnixMs,
      ...change,
    },
    operator(node),
  );
}

/** Node 1's desk over a store that outlives it. */
async function bench(meta = new Map<string, Uint8Array>()) {
  const posted: { readonly to: NodeIndex; readonly payload: Uint8Array }[] = [];
  const sent: typeof posted = [];
  const audited: string[] = [];
  const keys: Pick<KeyProgress, "row">[] = [];
  const store = {
    meta: async (name: string) => meta.get(name) ?? null,
    commit: async (writes: readonly StoreWrite[]) => {
      for (const write of writes) if (write.write === "meta") meta.set(write.key, write.value);
    },
    changes: async () => [],
  };
  const loop = new Loop({
    store,
    courier: {
      posting: (to: NodeIndex, id: string, { kind, payload }: { kind: string; payload: Uint8Array }) => {
        posted.push({ to, payload });
        return { write: "outbox", row: { to, id, kind, message: payload, createdAt: 0 } };
      },
      kick: () => {},
      send: (to: NodeIndex, { payload }: { payload: Uint8Array }) => sent.push({ to, payload }),
    } as never,
    audit: {
      entries: (facts) => {
        audited.push(...facts.map(({ kind }) => kind));
        return [];
      },
      committed: () => {},
      discarded: () => {},
    },
    report: (cause) => {
      throw cause;
    },
  });
  const book = await ManifestBook.open({ manifest, policy: openPolicy({}) }, store);
  const desk = new BackupDesk(
    { me: 1 as NodeIndex, book },
    { loop, store, keys: { list: () => keys as KeyProgress[] } },
  );
  await desk.restore();
  const active = (epoch = 0) =>
    keys.push({ row: { keyId: key, epoch, status: "active", updatedAt: 5 as UnixMs } as KeyProgress["row"] });
  return { desk, meta, posted, sent, audited, keys, active };
}

test("a key in use lacks the backups of all members, until each has a verified one", async () => {
  const { desk, active, keys } = await bench();
  assert.deepEqual(desk.unbacked(), []);
  active();
  assert.deepEqual(desk.unbacked()[0]?.missing, [1, 2, 3]);
  await desk.take(wordOf(1));
  await desk.take(wordOf(3));
  assert.deepEqual(desk.unbacked()[0]?.missing, [2]);
  await desk.take(wordOf(2));
  assert.deepEqual(desk.unbacked(), []);
  keys.length = 0;
  active(1);
  assert.deepEqual(desk.unbacked()[0]?.missing, [1, 2, 3], "a share of another epoch is none");
});

test("a key that is newer than the last backup is not in it", async () => {
  const { desk, active } = await bench();
  active();
  await desk.take(wordOf(1, { keys: [{ keyId: hashOf("older key") as KeyId, epoch: 0 }] }));
  assert.deepEqual(desk.unbacked()[0]?.missing, [1, 2, 3]);
});

test("an operator's word is posted to the other members, and a peer's copy is kept and not posted on", async () => {
  const { desk, posted, audited } = await bench();
  await desk.take(wordOf(1));
  assert.deepEqual(
    posted.map(({ to }) => to),
    [2, 3],
  );
  assert.deepEqual(audited, ["backup-verified"]);
  const other = await bench();
  for (const { payload } of posted.slice(0, 1)) {
    assert.deepEqual(decodeCanonical(signedVerifiedBackupSchema, payload), wordOf(1));
    await other.desk.onWord(payload);
  }
  assert.equal(other.desk.words().length, 1);
  assert.deepEqual(other.posted, []);
});

test("the newest word of a member stays, in whatever order words come, and over a restart", async () => {
  const { desk, meta } = await bench();
  const older = wordOf(2, { createdAt: 9 as UnixMs, keys: [] });
  for (const word of [wordOf(2), older, wordOf(2)]) await desk.take(word);
  assert.deepEqual(desk.words(), [wordOf(2)]);
  const again = await bench(meta);
  assert.deepEqual(again.desk.words(), [wordOf(2)]);
});

test("a peer that comes up is told the words that hold, and nothing where there are none", async () => {
  const { desk, sent } = await bench();
  await desk.peerUp(2 as NodeIndex);
  assert.deepEqual(sent, []);
  for (const word of [wordOf(3), wordOf(1)]) await desk.take(word);
  await desk.peerUp(2 as NodeIndex);
  assert.deepEqual(
    sent.map(({ to, payload }) => [to, decodeCanonical(signedVerifiedBackupSchema, payload)]),
    [
      [2, wordOf(1)],
      [2, wordOf(3)],
    ],
  );
});

test("a word that its operator did not sign is refused, and nothing is kept of it", async () => {
  const { desk, posted } = await bench();
  const forged = signVerifiedBackup(wordOf(2).body, operator(1));
  await assert.rejects(desk.take(forged), (error) => isCairnError(error, "operator-signature-missing"));
  await assert.rejects(desk.onWord(new Uint8Array([0xff])), CairnError);
  assert.deepEqual([desk.words(), posted], [[], []]);
});
