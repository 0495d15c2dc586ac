import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { KeyPath, NodeIndex, PresignatureId } from "@cairn/core";
import { native } from "@cairn/native-engine";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { HDKey } from "@scure/bip32";
import {
  auxiliary,
  type Cluster,
  ecdsaKey,
  executionId,
  type Key,
  node,
  openCluster,
  presignatureId,
  results,
  runSession,
  shareOf,
} from "./support/wire.ts";

const signers = [2, 3, 4, 5].map(node);
const path: KeyPath = [1, 3];
const message = new Uint8Array(Buffer.from("full level"));

/** Five nodes find twenty 1536-bit safe primes and make a key at production's parameters: minutes of work. */
describe("CGGMP24 at the level of production", { timeout: 1_800_000 }, () => {
  let cluster: Cluster;
  let key: Key;

  before(async () => {
    cluster = await openCluster({ native, primes: { target: 4 } });
    key = await ecdsaKey(cluster, await auxiliary(cluster));
  });
  after(() => cluster.close());

  async function accepts(signature: Uint8Array): Promise<boolean> {
    const { publicKey, chainCode, level } = await cluster.engine(node(1)).describe(key.publicPackage);
    assert.equal(level, "full");
    const child = new HDKey({ publicKey, chainCode }).derive(`m/${path[0]}/${path[1]}`).publicKey;
    assert.ok(child);
    return secp256k1.verify(signature, sha256(sha256(message)), child, { prehash: false, lowS: true });
  }

  const base = (me: NodeIndex) => ({
    keyId: key.keyId,
    epoch: key.epoch,
    me,
    signers,
    sealedShare: shareOf(key, me),
  });

  test("four of five sign in full", async () => {
    const execution = executionId();
    const ends = await runSession(cluster, signers, (me) => ({
      kind: "cggmp24-sign",
      executionId: execution,
      ...base(me),
      items: [{ path, preimage: message }],
    }));
    for (const { signatures } of results(ends, "cggmp24-sign").values()) {
      const [signature] = signatures;
      assert.ok(signature);
      assert.ok(await accepts(signature));
    }
  });

  test("four of five presign, and sign in one round", async () => {
    const id: PresignatureId = presignatureId();
    const execution = executionId();
    const ends = await runSession(cluster, signers, (me) => ({
      kind: "cggmp24-presign",
      executionId: execution,
      ...base(me),
      items: [{ presignatureId: id, path }],
    }));
    const made = results(ends, "cggmp24-presign");
    const partials = [];
    let publicData: Uint8Array | undefined;
    for (const [me, { items }] of made) {
      const [item] = items;
      assert.ok(item);
      publicData ??= item.publicData;
      assert.deepEqual(item.publicData, publicData);
      const partial = await cluster.engine(me).issuePartial({
        keyId: key.keyId,
        epoch: key.epoch,
        me,
        sealedPresignature: item.sealed,
        receipt: { presignatureId: id, epoch: key.epoch, burnCounter: 1 },
        path,
        signers,
        preimage: message,
      });
      partials.push({ from: me, partial });
    }
    assert.ok(publicData);
    const signature = await cluster
      .engine(node(1))
      .combinePartials({ publicPackage: key.publicPackage, publicData, path, preimage: message, partials });
    assert.ok(await accepts(signature));
  });
});
