import assert from "node:assert/strict";
import { test } from "node:test";
import {
  encodeCanonical,
  type HashHex,
  type Network,
  type NodeIndex,
  nodeIndexSchema,
  signVerifiedBackup,
  type UnixMs,
  type VerifiedBackup,
} from "@cairn/core";
import { testCluster } from "./node-folder.ts";
import { RestFixture } from "./rest-fixture.ts";

const ADDRESS = "/api/v1/wallet/address";

/** A server whose one wallet's key lacks the backup of node 2. */
async function unbacked(network: Network): Promise<RestFixture> {
  const rest = await RestFixture.start({ cluster: testCluster({ manifest: { network } }) });
  const { keyId } = rest.node.wallet.signed.record;
  rest.node.unbackedNow = [{ keyId, epoch: 0, missing: [2 as NodeIndex], since: 1 as UnixMs }];
  return rest;
}

test("on mainnet no address is shown before all members have a verified backup; an operator overrides it, and the log keeps that", async () => {
  const rest = await unbacked("mainnet");
  try {
    const refused = await rest.call("GET", ADDRESS);
    assert.deepEqual([refused.status, refused.json.code], [409, "not-backed-up"]);
    assert.match(refused.text, /nodes 2/);
    const spender = await rest.call("POST", ADDRESS, { body: {}, role: "spender" });
    assert.equal(spender.status, 403);
    assert.deepEqual(rest.node.recorded, []);
    const shown = await rest.call("POST", ADDRESS, { body: {}, role: "operator" });
    assert.deepEqual([shown.status, shown.json.unbacked], [200, [2]]);
    const { keyId } = rest.node.wallet.signed.record;
    assert.deepEqual(rest.node.recorded, [`address-without-backups ${keyId} ${shown.json.address} 2`]);
    rest.node.unbackedNow = [];
    assert.equal((await rest.call("GET", ADDRESS)).status, 200);
  } finally {
    await rest.close();
  }
});

test("on other networks the address is shown, with the members whose backups are missing", async () => {
  const rest = await unbacked("signet");
  try {
    const { status, json } = await rest.call("GET", ADDRESS);
    assert.deepEqual([status, json.unbacked], [200, [2]]);
  } finally {
    await rest.close();
  }
});

test("a word on a backup is taken with its operator's signature alone, whoever hands it in", async () => {
  const cluster = testCluster();
  const rest = await RestFixture.start({ cluster });
  const [first, second] = cluster.operators;
  assert.ok(first !== undefined && second !== undefined);
  const body: VerifiedBackup = {
    version: 1,
    cluster: cluster.manifest.cluster,
    node: nodeIndexSchema.parse(2),
    backup: "c".repeat(64) as HashHex,
    keys: [],
    createdAt: 1_800_000_000_000 as UnixMs,
    verifiedAt: 1_800_000_000_000 as UnixMs,
  };
  const hand = (signer: typeof first) =>
    rest.call("POST", "/api/v1/backups/verified", {
      body: { word: Buffer.from(encodeCanonical(signVerifiedBackup(body, signer))).toString("base64") },
    });
  try {
    assert.equal((await hand(first)).json.code, "operator-signature-missing");
    const taken = await hand(second);
    assert.equal(taken.status, 202);
    const listed = await rest.call("GET", "/api/v1/backups", { role: "viewer" });
    assert.deepEqual(listed.json, taken.json);
    assert.match(listed.text, new RegExp(body.backup));
  } finally {
    await rest.close();
  }
});
