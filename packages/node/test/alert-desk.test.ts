import assert from "node:assert/strict";
import { test } from "node:test";
import { CairnError, type UnixMs } from "@cairn/core";
import { ManualClock } from "@cairn/core/test-support";
import { type Alert, AlertDesk, type AlertFact, type AlertSource } from "../src/alert-desk.ts";

const MINUTE = 60_000;

class Scene {
  readonly clock = new ManualClock();
  readonly told: string[] = [];
  readonly reported: unknown[] = [];
  facts: AlertFact[] = [];

  desk(...more: readonly AlertSource[]): AlertDesk {
    return new AlertDesk({
      sources: [() => this.facts, ...more],
      clock: this.clock,
      changed: ({ kind, subject }: Alert, state) => void this.told.push(`${state} ${kind} ${subject}`),
      report: (cause) => void this.reported.push(cause),
    });
  }
}

const fact = (kind: AlertFact["kind"], subject = "1", since: number | null = null): AlertFact => ({
  kind,
  subject,
  since: since as UnixMs | null,
  data: {},
});

test("an alert is there while its cause is, and its beginning and end are told once", async () => {
  const scene = new Scene();
  const desk = scene.desk();
  scene.facts = [fact("storage")];
  const [first] = await desk.look();
  const began = scene.clock.now();
  assert.equal(first?.since, began);
  scene.clock.advance(5 * MINUTE);
  assert.equal((await desk.look())[0]?.since, began);
  assert.equal(desk.counts().get("storage"), 1);
  scene.facts = [];
  assert.deepEqual(await desk.look(), []);
  assert.equal(desk.counts().get("storage"), 0);
  scene.clock.advance(MINUTE);
  scene.facts = [fact("storage")];
  assert.equal((await desk.look())[0]?.since, scene.clock.now());
  assert.deepEqual(scene.told, ["raised storage 1", "cleared storage 1", "raised storage 1"]);
});

test("what may pass by itself is told only once it has lasted", async () => {
  const scene = new Scene();
  const desk = scene.desk();
  scene.facts = [fact("stock-empty", "key")];
  assert.deepEqual(await desk.look(), []);
  scene.clock.advance(9 * MINUTE);
  assert.deepEqual(await desk.look(), []);
  scene.clock.advance(MINUTE);
  assert.equal((await desk.look()).length, 1);
  // It went and came back: it has not lasted.
  scene.facts = [];
  await desk.look();
  scene.facts = [fact("stock-empty", "key")];
  assert.deepEqual(await desk.look(), []);
});

test("a time that the node keeps counts, and the most urgent comes first, the oldest of a kind before others", async () => {
  const scene = new Scene();
  const desk = scene.desk();
  const now = scene.clock.now();
  scene.facts = [
    fact("peer-down", "4", now - 2 * MINUTE),
    fact("ban", "3", now - 5),
    fact("ban", "2", now - 50),
    fact("peer-down", "5", now - 1),
    fact("storage"),
  ];
  const found = (await desk.look()).map(({ kind, subject, since }) => [kind, subject, now - since]);
  assert.deepEqual(found, [
    ["storage", "1", 0],
    ["ban", "2", 50],
    ["ban", "3", 5],
    ["peer-down", "4", 2 * MINUTE],
  ]);
});

test("a source that fails is reported, hides no other, and does not seem to be well", async () => {
  const scene = new Scene();
  let broken = false;
  const desk = scene.desk(() => {
    if (broken) throw new CairnError("storage-failed", "the database is gone");
    return [fact("clock")];
  });
  await desk.look();
  broken = true;
  scene.facts = [fact("storage")];
  assert.deepEqual(
    (await desk.look()).map(({ kind }) => kind),
    ["storage", "clock"],
  );
  assert.equal(scene.reported.length, 1);
  assert.deepEqual(scene.told, ["raised clock 1", "raised storage 1"]);
});

test("a desk that was started looks by itself until it is closed", async () => {
  const scene = new Scene();
  const desk = scene.desk();
  const settle = async () => {
    for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
  };
  desk.start();
  await settle();
  scene.facts = [fact("storage")];
  scene.clock.advance(30_000);
  await settle();
  assert.deepEqual(scene.told, ["raised storage 1"]);
  desk.close();
  scene.facts = [];
  scene.clock.advance(120_000);
  await settle();
  assert.deepEqual(scene.told, ["raised storage 1"]);
});
