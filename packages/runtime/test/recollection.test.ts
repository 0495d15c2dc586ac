import assert from "node:assert/strict";
import { test } from "node:test";
import { AMNESIA_KEY, amnesiaWrite, MAX_REQUEST_LIFETIME_MS, type NodeIndex, type UnixMs } from "@cairn/core";
import { ManualClock, namedSigner, testManifest } from "@cairn/core/test-support";
import { peersToRecall, Recollection } from "../src/recollection.ts";

const clock = new ManualClock();
const restoredAt = clock.now();
const manifestOf = (total: number) =>
  testManifest(
    Array.from({ length: total }, (_, at) => ({ identity: namedSigner(`node ${at + 1}`).publicKey })),
  );

async function recollection(lost: boolean): Promise<Recollection> {
  const { key, value } = amnesiaWrite(restoredAt);
  const meta = async (asked: string) => (lost && asked === AMNESIA_KEY && key === asked ? value : null);
  const made = new Recollection(manifestOf(5), { clock });
  assert.ok(!made.isDone);
  await made.restore({ meta });
  return made;
}

test("a node that never lost its database abstains from nothing", async () => {
  const whole = await recollection(false);
  assert.ok(whole.isDone);
  await whole.done();
  assert.equal(whole.forgets([0 as UnixMs]), false);
  assert.equal(whole.status, null);
});

test("a node that lost its database hears out three different peers of four before it acts", async () => {
  const lost = await recollection(true);
  let done = false;
  const waited = lost.done().then(() => {
    done = true;
  });
  for (const node of [2, 2, 4, 2]) {
    lost.hear(node as NodeIndex);
    await Promise.resolve();
    assert.ok(!lost.isDone && !done);
  }
  assert.deepEqual(lost.status?.heard, [2, 4]);
  lost.hear(1 as NodeIndex);
  assert.ok(lost.isDone);
  await waited;
});

test("small clusters hear out all their peers, large ones so many that any two quorums share an honest node", () => {
  const counts = [2, 3, 4, 5, 7, 10].map((total) => peersToRecall(manifestOf(total)));
  assert.deepEqual(counts, [1, 2, 3, 3, 4, 6]);
});

test("lineages with a request that expires by the restore plus the longest life of a request are forgotten for good", async () => {
  const lost = await recollection(true);
  const limit = (restoredAt + MAX_REQUEST_LIFETIME_MS) as UnixMs;
  const later = (limit + 1) as UnixMs;
  assert.ok(lost.forgets([limit]));
  assert.ok(!lost.forgets([later]));
  // One that replaces a request of before stays forgotten, however long it lives itself.
  assert.ok(lost.forgets([later, limit]));
  for (const node of [1, 2, 3]) lost.hear(node as NodeIndex);
  assert.ok(lost.forgets([limit]));
  assert.equal(lost.status?.forgottenUntil, limit);
  clock.advance(MAX_REQUEST_LIFETIME_MS);
  assert.equal(lost.status, null);
  assert.ok(lost.forgets([later, limit]));
});
