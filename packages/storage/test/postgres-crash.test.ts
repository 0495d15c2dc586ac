import assert from "node:assert/strict";
import { test } from "node:test";
import { PostgresServer } from "../test-support/index.ts";
import { crashCampaign } from "./crash-campaign.ts";
import { createPostgresCrashPlace } from "./postgres-crash.ts";

test("after each of 12 kills of a process, and some of its Postgres server, all that was acknowledged is there and nothing is burned twice", async () => {
  const server = await PostgresServer.create();
  try {
    const { checked } = await crashCampaign({
      kills: 12,
      atOnce: 1,
      random: Math.random,
      createPlace: () => createPostgresCrashPlace(server, Math.random, 0.3),
    });
    assert.ok(checked > 40, `only ${checked} acknowledged changes were looked for`);
  } finally {
    await server.remove();
  }
});
