import assert from "node:assert/strict";
import { test } from "node:test";
import { type CrashPlace, crashCampaign } from "./crash-campaign.ts";
import { createSqlitePlace } from "./sqlite-place.ts";

async function createPlace(): Promise<CrashPlace> {
  const { path, open, remove } = await createSqlitePlace();
  return { spec: path, open, remove };
}

test("after each of 32 kills at random points, all that was acknowledged is there and nothing is burned twice", async () => {
  const { checked } = await crashCampaign({ kills: 32, atOnce: 4, random: Math.random, createPlace });
  assert.ok(checked > 100, `only ${checked} acknowledged changes were looked for`);
});
