import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeIndex, SessionRow } from "@cairn/core";
import type { InProcessNode } from "./cluster.ts";
import { HostileScene } from "./hostile-scene.ts";

/** What a node that is too slow never gets said in time: its proposals and its part in a session's rounds. */
const late: ReadonlySet<string> = new Set(["proposal", "round"]);
/** Payments in a row that nothing spoils: by chance once in 4,000 times. */
const CALM = 6;

test("a signer that keeps falling silent is chosen last at all nodes, nobody is banned, and it signs again once it answers", {
  timeout: 600_000,
}, async () => {
  await HostileScene.run(async (scene) => {
    const { hostile: slow, cluster } = scene;
    const pay = async (at: number): Promise<void> => {
      scene.fund(500_000n);
      await scene.pay(at);
    };
    const together = (node: InProcessNode) => signingWith(node, slow.index);

    slow.rewrite = (_, said) => (late.has(said.kind) ? null : said);
    const spoilt = async (): Promise<number> => {
      const rows = await Promise.all(scene.honestNodes().map(together));
      return new Set(rows.flat().map(({ session }) => session)).size;
    };
    // Without a memory three of four payments begin with a session that the slow one spoils.
    let calm = 0;
    for (let paid = 0; calm < CALM; paid += 1) {
      assert.ok(paid < 40, `after ${await spoilt()} spoilt sessions they still choose the slow node`);
      const before = await spoilt();
      await pay(1 + (paid % 4));
      calm = (await spoilt()) === before ? calm + 1 : 0;
    }
    assert.ok((await spoilt()) > 0, "the slow node never had its chance");

    // It answers from now on; with another one down the four must take it, and find that it does its part.
    slow.rewrite = (_, said) => said;
    await cluster.node(4).crash();
    for (let paid = 0; paid < 4; paid += 1) {
      scene.fund(500_000n);
      const intent = await scene.submit(1 + (paid % 3));
      await cluster.until(
        async () =>
          (await Promise.all(scene.running().map(({ store }) => store.transaction({ intent })))).every(
            (row) => row !== null && row.signedTx !== null,
          ),
        60_000,
        () => "the payment that needs the slow node is not signed",
      );
      cluster.chain.mine(1);
    }
    await cluster.startNode(4 as NodeIndex);
    const known = (await together(cluster.node(1))).length;
    for (let paid = 0; (await together(cluster.node(1))).length === known; paid += 1) {
      assert.ok(paid < 30, "the node that was slow is never chosen again");
      await pay(1 + (paid % 3));
    }
    for (const { runtime, store } of scene.honestNodes()) {
      assert.deepEqual(runtime.bans.bans(), []);
      const named = await store.violations({ limit: 1_000 });
      assert.deepEqual(
        named.filter(({ node }) => node !== slow.index),
        [],
      );
    }
  });
});

/** Signing sessions of `node` in which `peer` was among the signers. */
async function signingWith({ store }: InProcessNode, peer: NodeIndex): Promise<readonly SessionRow[]> {
  const rows = await store.sessions({ limit: 1_000 });
  return rows.filter(({ purpose, signers }) => purpose === "sign" && signers.includes(peer));
}
