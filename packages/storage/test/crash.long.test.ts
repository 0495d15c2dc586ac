import assert from "node:assert/strict";
import { test } from "node:test";
import { crashCampaign } from "./crash-campaign.ts";

test("after each of 300 kills at random points, all that was acknowledged is there and nothing is burned twice", async () => {
  const { checked } = await crashCampaign(300, Math.random);
  assert.ok(checked > 10_000, `only ${checked} acknowledged changes were looked for`);
});
