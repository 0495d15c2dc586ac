import assert from "node:assert/strict";
import { test } from "node:test";
import { type CrashPlace, crashCampaign } from "./crash-campaign.ts";
import { createSqlitePlace } from "./sqlite-place.ts";

async function createPlace(): Promise<CrashPlace> {
  const { path, open, remove } = await createSqlitePlace();
  return { spec: path, open, remove };
}

test("after each of 500 kills at random points, all that was acknowledged is there and nothing is burned twice", async () => {
  const { checked } = await crashCampaign({ kills: 500, atOnce: 4, random: Math.random, createPlace });
  assert.ok(checked > 15_000, `only ${checked} acknowledged changes were looked for`);
});
