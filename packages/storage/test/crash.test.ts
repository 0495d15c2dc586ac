import assert from "node:assert/strict";
import { test } from "node:test";
import { crashCampaign } from "./crash-campaign.ts";

test("after each of 32 kills at random points, all that was acknowledged is there and nothing is burned twice", async () => {
  const { checked } = await crashCampaign(32, Math.random);
  assert.ok(checked > 100, `only ${checked} acknowledged changes were looked for`);
});
