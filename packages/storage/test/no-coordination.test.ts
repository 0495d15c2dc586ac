import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "@cairn/core/test-support";
import { openNoCoordination } from "../src/index.ts";
import { coordinationContract } from "./coordination-contract.ts";

coordinationContract("none", async () => {
  const clock = new ManualClock();
  const only = openNoCoordination({ clock });
  return { join: async () => only, pass: async (ms) => clock.advance(ms), remove: () => only.close() };
});

test("two processes without coordination see nothing of each other, and each leads for itself", async () => {
  const clock = new ManualClock();
  const [one, two] = [openNoCoordination({ clock }), openNoCoordination({ clock })];
  await one.put("/bans/3", "banned");
  assert.equal(await two.get("/bans/3"), null);
  await Promise.all([one.campaign("coordinator"), two.campaign("coordinator")]);
  assert.equal(one.shared, false);
});
