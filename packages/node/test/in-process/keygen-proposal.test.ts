import assert from "node:assert/strict";
import { test } from "node:test";
import { CairnError, type Courier, type KeyId, type NodeIndex, verifyWalletRecord } from "@cairn/core";
import type { NodeEvent } from "@cairn/runtime";
import { InProcessCluster } from "./cluster.ts";

/** The key as each running node sees its request. */
const proposalsOf = (cluster: InProcessCluster, keyId: KeyId) =>
  [...cluster.nodes.values()].map(({ runtime }) => {
    const key = runtime.keys.list().find(({ row }) => row.keyId === keyId);
    const words = (key?.approvals ?? []).map(({ body }) => `${body.node}:${body.reason ?? "approves"}`);
    return { standing: key?.standing ?? "none", words: words.toSorted() };
  });

test("one operator's refusal ends a key for all, also for a node that was away, and all tell who said what", async () => {
  const cluster = await InProcessCluster.start();
  try {
    const events: NodeEvent[] = [];
    cluster.node(3).runtime.subscribe((event) => void events.push(event));
    await cluster.node(5).stop();
    const keyId = await cluster.node(1).runtime.generateKey(cluster.keygenRequest("frost", "unwanted"));
    await cluster.until(
      () =>
        proposalsOf(cluster, keyId).every(({ standing, words }) => standing === "open" && words.length === 4),
      30_000,
      () => `the request stands ${JSON.stringify(proposalsOf(cluster, keyId))}`,
    );
    const refused = await cluster.node(2).runtime.keys.refuse(keyId);
    assert.equal(refused.row.status, "failed");
    await cluster.startNode(5 as NodeIndex);
    const all = () => proposalsOf(cluster, keyId);
    await cluster.until(
      () =>
        all().every(({ standing, words }) => standing === "rejected" && words.includes("2:operator-refused")),
      30_000,
      () => `the request stands ${JSON.stringify(all())}`,
    );
    assert.equal(cluster.nodes.size, 5);
    const told = events.filter(({ type, subject }) => type === "change" && subject === keyId);
    const { state, data } = told.at(-1) ?? assert.fail("nothing was told");
    assert.equal(state, "rejected");
    assert.deepEqual([data.type, data.refused, data.needed], ["keygen", "2:operator-refused", 5]);
    await assert.rejects(cluster.node(2).runtime.keys.refuse(keyId), { code: "wrong-state" });
  } finally {
    await cluster.close();
  }
});

test("a node that was away when a key was committed takes it from the signatures of all n", async () => {
  let deaf = true;
  /** What comes is neither taken nor acknowledged, as by a node that is gone. */
  const away = (courier: Courier): Courier => {
    const start: Courier["start"] = (handler) =>
      courier.start({
        message: (from, message) =>
          deaf && ["wallet-signature", "sync-answer"].includes(message.kind)
            ? Promise.reject(new CairnError("busy", "away"))
            : handler.message(from, message),
        peer: (status) => handler.peer(status),
        refused: (from, code) => handler.refused(from, code),
      });
    return new Proxy(courier, {
      get(of, name) {
        if (name === "start") return start;
        const value: unknown = Reflect.get(of, name, of);
        return typeof value === "function" ? value.bind(of) : value;
      },
    });
  };
  const cluster = await InProcessCluster.start({
    tampering: (index) => (index === 4 ? { courier: away } : undefined),
  });
  try {
    const keyId = await cluster.node(1).runtime.generateKey(cluster.keygenRequest("frost", "missed"));
    const standings = () => proposalsOf(cluster, keyId).map(({ standing }) => standing);
    await cluster.until(
      () => standings().filter((standing) => standing === "in-force").length === 4,
      60_000,
      () => `the request stands ${standings()}`,
    );
    assert.equal(standings().filter((standing) => standing === "committed").length, 1);
    await assert.rejects(cluster.node(1).runtime.keys.refuse(keyId), { code: "wrong-state" });
    await assert.rejects(cluster.node(4).runtime.keys.refuse(keyId), { code: "wrong-state" });
    await cluster.node(4).stop();
    deaf = false;
    await cluster.startNode(4 as NodeIndex);
    await cluster.until(
      () => standings().every((standing) => standing === "in-force"),
      30_000,
      () => `the request stands ${standings()}`,
    );
    const [wallet] = cluster.node(4).runtime.wallets.all();
    assert.ok(wallet);
    assert.ok(verifyWalletRecord(wallet.signed, cluster.manifest));
    assert.equal(wallet.signed.signatures.length, 5);
    assert.ok(proposalsOf(cluster, keyId).every(({ words }) => words.length === 5));
  } finally {
    await cluster.close();
  }
});
