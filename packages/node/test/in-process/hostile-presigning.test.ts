import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeIndex } from "@cairn/core";
import { floodPresigning } from "./hostile-presigning.ts";
import { HostileScene } from "./hostile-scene.ts";

const signers = [1, 2, 3, 5] as NodeIndex[];
const asked = 64;

test("of many presigning jobs that one node asks for at once its signers work at one, and payments go on", async () => {
  await HostileScene.run(
    async (scene) => {
      const before = new Set((await scene.audited("session-opened")).map(({ subject }) => subject));
      floodPresigning(scene, signers, asked);
      const opened = async () => {
        const all = await scene.audited("session-opened");
        const asHostile = all.filter(({ subject, data }) => !before.has(subject) && data.initiator === 5);
        return new Set(asHostile.map(({ subject }) => subject)).size;
      };
      const refused = async () => {
        const all = await scene.audited("proposal-refused");
        return all.filter(({ data }) => data.from === 5 && data.code === "limit-exceeded").length;
      };
      await scene.eventually(async () => (await refused()) >= 3 * (asked - 8), "the jobs were not refused");
      assert.ok((await opened()) <= 8, "one after another, if any");
      scene.assertHonestUnbanned();
      await scene.pay(1);
    },
    { protocol: "cggmp24", presignatures: 10, samePath: true, twin: true },
  );
});
