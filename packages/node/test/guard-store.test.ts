import assert from "node:assert/strict";
import { test } from "node:test";
import { type CairnError, isCairnError, type UnixMs } from "@cairn/core";
import { type MemoryFault, openMemoryStore } from "@cairn/storage";
import { guardStore } from "../src/guard-store.ts";

const write = { write: "meta", key: "k", value: new Uint8Array(1) } as const;

test("the first error after which a store can't be trusted is reported, once, and still thrown", async () => {
  for (const fault of ["lost", "unacknowledged"] satisfies MemoryFault[]) {
    const heard: CairnError[] = [];
    const { store } = guardStore(
      openMemoryStore({ fault: (commit) => (commit === 2 ? fault : null) }),
      (error) => heard.push(error),
    );
    await store.commit([write]);
    assert.deepEqual(heard, []);
    await assert.rejects(store.commit([write]), (error) => isCairnError(error, "storage-failed"));
    await assert.rejects(store.burnCounter(), (error) => isCairnError(error, "storage-failed"));
    assert.deepEqual(
      heard.map(({ code }) => code),
      ["storage-failed"],
    );
  }
});

test("a full disk ends nothing: writes say so until one finds room, and reads go on", async () => {
  const heard: CairnError[] = [];
  const { store, writable } = guardStore(
    openMemoryStore({ fault: (commit) => (commit === 1 ? "full" : null) }),
    (error) => heard.push(error),
  );
  assert.equal(writable(), true);
  await assert.rejects(store.commit([write]), (error) => isCairnError(error, "storage-full"));
  assert.equal(writable(), false);
  assert.equal(await store.meta("k"), null);
  assert.equal(writable(), false);
  await store.commit([{ write: "idempotency-expiry", before: 1 as UnixMs }]);
  assert.equal(writable(), true);
  assert.deepEqual(heard, []);
});
