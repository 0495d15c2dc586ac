import assert from "node:assert/strict";
import { test } from "node:test";
import { CairnClient } from "@cairn/client";
import { verifyWalletRecord } from "@cairn/core";
import { freeEndpoints } from "@cairn/core/test-support";
import { Daemon } from "./daemon-process.ts";
import { ADMIN_TOKEN, NodeFolder, testCluster } from "./node-folder.ts";
import { signedKeygen } from "./signed-keygen.ts";
import { until } from "./until.ts";

test("two daemons find each other and make a FROST key that an operator asked for over the API, with a wallet that both signed", {
  timeout: 120_000,
}, async () => {
  const places = await freeEndpoints(2);
  const cluster = testCluster({ addresses: places.map(({ address }) => [`tcp://${address}`]) });
  const folders = [await NodeFolder.create(cluster, 1), await NodeFolder.create(cluster, 2)];
  const daemons = folders.map(
    (folder, at) =>
      new Daemon("main-reduced", [
        "--config",
        folder.config,
        "--transport.p2p_listen",
        places[at]?.address ?? "",
      ]),
  );
  try {
    const clients: CairnClient[] = [];
    for (const daemon of daemons) {
      const { api } = await daemon.logged("node ready");
      clients.push(new CairnClient({ endpoints: [String(api)], token: ADMIN_TOKEN }));
    }
    const [first, second] = clients;
    assert.ok(first !== undefined && second !== undefined);
    await until(
      () => first.call("getClusterStatus", {}),
      ({ up }) => up === 2,
    );

    const body = signedKeygen(cluster);
    const { keyId } = await first.call("createKey", { body, idempotencyKey: "keygen" });
    const again = await first.call("createKey", { body, idempotencyKey: "keygen" });
    assert.equal(again.keyId, keyId);

    for (const client of clients) {
      const key = await until(
        () => client.call("listKeys", {}).then(({ keys }) => keys.find((entry) => entry.keyId === keyId)),
        (found) => found?.status === "active" || found?.status === "failed",
      );
      assert.equal(key?.status, "active", JSON.stringify(key));
      const { wallets } = await until(
        () => client.call("listWallets", {}),
        (answer) => answer.wallets.length > 0,
      );
      const [wallet] = wallets;
      assert.ok(
        wallet !== undefined &&
          verifyWalletRecord(wallet as Parameters<typeof verifyWalletRecord>[0], cluster.manifest),
      );
      assert.match(wallet.record.descriptor, /^tr\(tpub/);
    }
    const [one, two] = await Promise.all(clients.map((client) => client.call("listWallets", {})));
    assert.deepEqual(one?.wallets[0]?.record, two?.wallets[0]?.record);
    const { sessions } = await second.call("listSessions", { query: { live: "false" } });
    assert.ok(
      sessions.some(({ purpose, state }) => purpose === "keygen" && state === "done"),
      JSON.stringify(sessions),
    );
    const { entries } = await second.call("listAudit", { query: { limit: 200 } });
    assert.ok(entries.length > 0 && entries.every(({ seq }, at) => seq === at));

    for (const daemon of daemons) daemon.process.kill("SIGTERM");
    assert.deepEqual(await Promise.all(daemons.map(({ exit }) => exit)), [0, 0]);
  } finally {
    for (const daemon of daemons) await daemon.stop();
    for (const folder of folders) await folder.remove();
  }
});
