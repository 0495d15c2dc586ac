import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type NodeIndex, toHex } from "@cairn/core";
import { native as full } from "@cairn/native-engine";
import { native as reduced } from "@cairn/native-engine/reduced";
import type { Engine, EngineFailure, EngineSpec } from "@cairn/signing";
import { openEngine } from "../src/open-engine.ts";
import {
  type Cluster,
  executionId,
  frostKey,
  type Key,
  keyId,
  node,
  openCluster,
  shareOf,
} from "./support/wire.ts";

const preimage = new Uint8Array([0, 1, 2]);
const signers = [1, 2, 3, 4].map(node);

describe("sealed shares open in their own place only", () => {
  let cluster: Cluster;
  let key: Key;

  before(async () => {
    cluster = await openCluster();
    key = await frostKey(cluster, 4, 7);
  });
  after(() => cluster.close());

  const spec = (
    me: NodeIndex,
    change: Partial<Extract<EngineSpec, { sealedShare: Uint8Array }>> = {},
  ): EngineSpec => ({
    kind: "frost-sign",
    executionId: executionId(),
    keyId: change.keyId ?? key.keyId,
    epoch: change.epoch ?? key.epoch,
    me,
    signers: change.signers ?? signers,
    sealedShare: change.sealedShare ?? shareOf(key, me),
    items: [{ path: [0, 0], preimage }],
  });

  /** Starts a session alone and answers how it fails, or `undefined` when it sends its first message. */
  const outcome = (engine: Engine, of: EngineSpec) =>
    new Promise<EngineFailure | undefined>((resolve) => {
      const session = engine.start(of, {
        send: () => {
          resolve(undefined);
          session.cancel();
        },
        progress() {},
        done() {},
        failed: resolve,
      });
    });

  test("the right engine opens it", async () => {
    assert.equal(await outcome(cluster.engine(node(1)), spec(node(1))), undefined);
  });

  test("another epoch, key, node or an altered byte is refused", async () => {
    const engine = cluster.engine(node(1));
    const altered = Uint8Array.from(shareOf(key, node(1)));
    altered[60] = (altered[60] ?? 0) ^ 1;
    const wrong = [
      spec(node(1), { epoch: 8 }),
      spec(node(1), { keyId: keyId() }),
      spec(node(1), { sealedShare: shareOf(key, node(2)) }),
      spec(node(1), { sealedShare: altered }),
      spec(node(1), { sealedShare: shareOf(key, node(1)).slice(0, 20) }),
    ];
    for (const of of wrong) assert.equal((await outcome(engine, of))?.code, "sealed-blob-invalid");
  });

  test("another cluster with the same key file is refused", async () => {
    const keySource = { kind: "file", path: join(cluster.folder, "key-1") } as const;
    const { engine } = await openEngine(reduced, {
      clusterId: (await openOther()).clusterId,
      me: node(1),
      dataDir: join(cluster.folder, "other-cluster"),
      keySource,
      primes: { target: 0 },
    });
    assert.equal((await outcome(engine, spec(node(1))))?.code, "sealed-blob-invalid");
    await engine.close();
  });

  async function openOther(): Promise<Cluster> {
    const other = await openCluster({ size: 2 });
    await other.close();
    return other;
  }

  test("the full level refuses what the reduced level made, and the other way round", async () => {
    const keySource = { kind: "file", path: join(cluster.folder, "key-1") } as const;
    const { engine } = await openEngine(full, {
      clusterId: cluster.clusterId,
      me: node(1),
      dataDir: join(cluster.folder, "full"),
      keySource,
      primes: { target: 0 },
    });
    assert.equal(engine.level, "full");
    const failure = await outcome(engine, spec(node(1)));
    assert.equal(failure?.code, "sealed-blob-invalid");
    assert.match(failure.message, /level/);
    await assert.rejects(engine.describe(key.publicPackage), { code: "malformed" });
    await engine.close();

    const other = await openCluster({ native: full, size: 2 });
    try {
      const made = await frostKey(other, 2);
      await assert.rejects(cluster.engine(node(1)).describe(made.publicPackage), { code: "malformed" });
    } finally {
      await other.close();
    }
  });

  test("too few, too many or unknown signers are refused", async () => {
    const engine = cluster.engine(node(1));
    for (const wrong of [
      [1, 2, 3],
      [1, 2, 3, 4, 5],
      [1, 2, 3, 6],
    ]) {
      const failure = await outcome(engine, spec(node(1), { signers: wrong.map(node) }));
      assert.equal(failure?.code, "internal", `${wrong}`);
    }
  });

  test("a spec that contradicts itself is refused at once", () => {
    const engine = cluster.engine(node(1));
    const listener = { send() {}, progress() {}, done() {}, failed() {} };
    const base = spec(node(1));
    const wrong: EngineSpec[] = [
      { ...base, me: node(2) },
      spec(node(1), { signers: [2, 3, 4, 5].map(node) }),
      spec(node(1), { signers: [1, 1, 2, 3].map(node) }),
      spec(node(1), { signers: [4, 3, 2, 1].map(node) }),
      { ...base, kind: "frost-sign", items: [] } as EngineSpec,
    ];
    for (const of of wrong) assert.throws(() => engine.start(of, listener), { code: "malformed" });
    const keygen = (threshold: number): EngineSpec => ({
      kind: "frost-keygen",
      executionId: executionId(),
      keyId: keyId(),
      epoch: 0,
      me: node(1),
      parties: cluster.nodes,
      threshold,
    });
    for (const threshold of [0, 1, 6, 256]) {
      assert.throws(() => engine.start(keygen(threshold), listener), { code: "malformed" });
    }
    for (const epoch of [-1, 0.5, Number.NaN, 2 ** 53]) {
      assert.throws(() => engine.start({ ...keygen(3), epoch } as EngineSpec, listener), {
        code: "malformed",
      });
    }
  });

  test("altered public packages are refused or differ, never crash", async () => {
    const engine = cluster.engine(node(1));
    const good = await engine.describe(key.publicPackage);
    for (let at = 0; at < key.publicPackage.length; at += 1) {
      const altered = Uint8Array.from(key.publicPackage);
      altered[at] = (altered[at] ?? 0) ^ (1 << (at % 8));
      try {
        assert.notDeepEqual(
          { ...(await engine.describe(altered)), bytes: toHex(altered) },
          { ...good, bytes: toHex(key.publicPackage) },
        );
      } catch (error) {
        assert.equal((error as { code?: string }).code, "malformed");
      }
    }
    for (const junk of [new Uint8Array(), new Uint8Array([0xa0]), randomBytes(300)]) {
      await assert.rejects(engine.describe(junk), { code: "malformed" });
    }
  });
});
