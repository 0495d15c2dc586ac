import assert from "node:assert/strict";
import { test } from "node:test";
import { isCairnError } from "@cairn/core";
import { ManualClock } from "@cairn/core/test-support";
import { CoordinationHub, openMemoryCoordination } from "../src/index.ts";
import { coordinationContract } from "./coordination-contract.ts";

coordinationContract("memory", async () => {
  const clock = new ManualClock();
  const hub = new CoordinationHub({ clock });
  return {
    join: async () => openMemoryCoordination(hub),
    pass: async (ms) => clock.advance(ms),
    remove: async () => {},
  };
});

test("a member that closes while it waits in line is refused, and the line goes on without it", async () => {
  const hub = new CoordinationHub({ clock: new ManualClock() });
  const [first, second, third] = [1, 2, 3].map(() => openMemoryCoordination(hub));
  assert.ok(first && second && third);
  const leader = await first.campaign("coordinator");
  const waiting = second.campaign("coordinator");
  const last = third.campaign("coordinator");
  await second.close();
  await assert.rejects(waiting, (error) => isCairnError(error, "closed"));
  await first.close();
  assert.equal(leader.lost.aborted, true);
  assert.ok((await last).fence > leader.fence);
  assert.equal(third.shared, true);
});
