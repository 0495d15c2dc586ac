import assert from "node:assert/strict";
import { test } from "node:test";
import { signBody } from "@cairn/core";
import { decodeSessionMessage, encodeSessionMessage, makeProposal } from "@cairn/signing";
import { HostileScene } from "./hostile-scene.ts";

test("an altered ECDSA partial bans its signer with proof, and presignatures of another subset are refused", async () => {
  await HostileScene.run(
    async (scene) => {
      const { hostile, cluster, record, honest } = scene;
      const ready = async (index: number) =>
        (
          await cluster.node(index).store.presignatures({ keyId: record.keyId, path: [0, 0], state: "ready" })
        ).filter(({ signers }) => signers.includes(hostile.index));
      await cluster.until(
        async () => (await ready(1)).length > 0,
        90_000,
        () => "no presignature became ready",
      );

      let foreign = 0;
      const items = await Promise.all(
        honest.map((index) => cluster.node(index).store.presignatures({ keyId: record.keyId, path: [0, 0] })),
      );
      const own = items.flat();
      hostile.rewrite = (_, said) => {
        if (said.kind !== "proposal") return said;
        const decoded = decodeSessionMessage("proposal", said.payload);
        if (decoded.kind !== "proposal" || decoded.signed.body.items === null) return said;
        const { sessionId: _id, version: _version, ...body } = decoded.signed.body;
        const other = own.find(({ signers }) => signers.join() !== body.signers.join());
        if (other === undefined) return said;
        foreign += 1;
        const proposal = makeProposal({ ...body, items: [other.id] });
        const signed = signBody("cairn/proposal/v1", proposal, cluster.signerOf(5));
        return {
          ...said,
          session: proposal.sessionId,
          payload: encodeSessionMessage({ kind: "proposal", signed }),
        };
      };
      hostile.partial = (partial) => {
        const bent = new Uint8Array(partial);
        bent[bent.length - 1] = (bent[bent.length - 1] ?? 0) ^ 1;
        return bent;
      };
      for (let tries = 0; tries < 6 && (await scene.recorded("InvalidPartial")).length === 0; tries += 1) {
        await cluster.until(
          async () => (await ready(1)).length > 0,
          90_000,
          () => "no presignature became ready",
        );
        await scene.signed(await scene.submit(1), 60_000);
      }
      await scene.bannedByAll("InvalidPartial");
      scene.assertHonestUnbanned();
      const refused = (await scene.audited("proposal-refused")).filter(({ data }) => data.from === 5);
      if (foreign > 0) assert.ok(refused.length > 0 || (await scene.audited("session-failed")).length > 0);
      const [proof] = await scene.recorded("InvalidPartial");
      assert.ok(proof !== undefined && proof.evidence.length > 0, "with evidence for third parties");
    },
    {
      protocol: "cggmp24",
      presignatures: 20,
      samePath: true,
      timeouts: { ackMs: 3_000, startMs: 4_000, roundMs: 15_000, sessionMs: 40_000 },
    },
  );
});
