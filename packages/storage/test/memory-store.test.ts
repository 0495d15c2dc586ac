import assert from "node:assert/strict";
import { test } from "node:test";
import { isCairnError } from "@cairn/core";
import { MemoryDisk, type MemoryFault, openMemoryStore } from "../src/index.ts";
import { nodeStoreContract } from "./node-store-contract.ts";
import { at, bytes, presignatureOf, presignatureRow, sessionOf } from "./rows.ts";

nodeStoreContract("memory", async () => {
  const disk = new MemoryDisk();
  return { open: async () => openMemoryStore({ disk }), remove: async () => {} };
});

const faultAt =
  (commit: number, fault: MemoryFault) =>
  (number: number): MemoryFault | null =>
    number === commit ? fault : null;

test("a lost commit leaves the disk as it was and ends the store", async () => {
  const disk = new MemoryDisk();
  const store = openMemoryStore({ disk, fault: faultAt(2, "lost") });
  await store.commit([{ write: "meta", key: "k", value: bytes("1") }]);
  await assert.rejects(store.commit([{ write: "meta", key: "k", value: bytes("2") }]), (error) =>
    isCairnError(error, "storage-failed"),
  );
  await assert.rejects(store.meta("k"), (error) => isCairnError(error, "storage-failed"));
  await store.close();
  assert.deepEqual(await openMemoryStore({ disk }).meta("k"), bytes("1"));
});

test("an unacknowledged burn is on the disk at the next start, and its item stays used", async () => {
  const disk = new MemoryDisk();
  const store = openMemoryStore({ disk, fault: faultAt(2, "unacknowledged") });
  await store.commit([{ write: "presignature", row: presignatureRow("a") }]);
  await assert.rejects(store.burn(presignatureOf("a"), sessionOf("s"), at(1)), (error) =>
    isCairnError(error, "storage-failed"),
  );
  await store.close();
  const next = openMemoryStore({ disk });
  assert.equal(await next.burnCounter(), 1);
  await assert.rejects(next.burn(presignatureOf("a"), sessionOf("s"), at(1)), (error) =>
    isCairnError(error, "presignature-used"),
  );
});

test("a full disk refuses one commit and takes the next", async () => {
  const store = openMemoryStore({ fault: faultAt(1, "full") });
  await assert.rejects(store.commit([{ write: "meta", key: "k", value: bytes("1") }]), (error) =>
    isCairnError(error, "storage-full"),
  );
  assert.equal(await store.meta("k"), null);
  await store.commit([{ write: "meta", key: "k", value: bytes("2") }]);
  assert.deepEqual(await store.meta("k"), bytes("2"));
});

test("a snapshot is the whole disk at that moment, apart from what happens later", async () => {
  const disk = new MemoryDisk();
  const store = openMemoryStore({ disk });
  await store.commit([{ write: "presignature", row: presignatureRow("a") }]);
  const snapshot = disk.snapshot();
  await store.burn(presignatureOf("a"), sessionOf("s"), at(1));
  const rolledBack = openMemoryStore({ disk: snapshot });
  assert.equal((await rolledBack.presignature(presignatureOf("a")))?.state, "ready");
  assert.equal(await rolledBack.burnCounter(), 0);
  assert.equal((await store.presignature(presignatureOf("a")))?.state, "burned");
});
