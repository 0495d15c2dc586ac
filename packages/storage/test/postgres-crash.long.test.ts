import assert from "node:assert/strict";
import { test } from "node:test";
import { PostgresServer } from "../test-support/index.ts";
import { crashCampaign } from "./crash-campaign.ts";
import { createPostgresCrashPlace } from "./postgres-crash.ts";

for (const { kills, serverToo, atOnce } of [
  { kills: 500, serverToo: 0, atOnce: 3 },
  { kills: 120, serverToo: 1, atOnce: 1 },
]) {
  const who = serverToo === 1 ? "the Postgres server and then of its process" : "a process";
  test(`after each of ${kills} kills of ${who} at a transaction's begin or commit, all that was acknowledged is there and nothing is burned twice`, async () => {
    const server = await PostgresServer.create();
    try {
      const { checked } = await crashCampaign({
        kills,
        atOnce,
        random: Math.random,
        createPlace: () => createPostgresCrashPlace(server, Math.random, serverToo),
      });
      assert.ok(checked > kills * 10, `only ${checked} acknowledged changes were looked for`);
    } finally {
      await server.remove();
    }
  });
}
