import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { KeyPath, NodeIndex } from "@cairn/core";
import type { EngineSpec } from "@cairn/signing";
import { schnorr, secp256k1 } from "@noble/curves/secp256k1.js";
import { HDKey } from "@scure/bip32";
import {
  asIs,
  type Cluster,
  executionId,
  failureOf,
  frostKey,
  type Key,
  keyId,
  type Message,
  node,
  openCluster,
  results,
  runSession,
  signerFacts,
  subsets,
  type Tamper,
} from "./support/wire.ts";

/** The x-only output key of the child at `path`, by other libraries: BIP-32, then BIP-341 without script path. */
function outputKey(publicKey: Uint8Array, chainCode: Uint8Array, path: KeyPath): Uint8Array {
  const child = new HDKey({ publicKey, chainCode }).derive(`m/${path[0]}/${path[1]}`).publicKey;
  assert.ok(child);
  const internal = child.slice(1);
  const tweak = secp256k1.Point.Fn.fromBytes(schnorr.utils.taggedHash("TapTweak", internal));
  const point = schnorr.utils.lift_x(BigInt(`0x${Buffer.from(internal).toString("hex")}`));
  return schnorr.utils.pointToBytes(point.add(secp256k1.Point.BASE.multiply(tweak)));
}

const sighash = (preimage: Uint8Array) => schnorr.utils.taggedHash("TapSighash", preimage);
const preimage = (text: string) => new Uint8Array(Buffer.from(`\0${text}`));

describe("FROST", () => {
  let cluster: Cluster;
  let key: Key;

  before(async () => {
    cluster = await openCluster();
    key = await frostKey(cluster);
  });
  after(() => cluster.close());

  const signSpec =
    (signers: readonly NodeIndex[], items: readonly { path: KeyPath; preimage: Uint8Array }[]) =>
    (execution = executionId()) =>
    (me: NodeIndex): EngineSpec => ({
      kind: "frost-sign",
      ...signerFacts(key, signers, me, execution),
      items,
    });

  test("every subset of four signs, and another library accepts the signatures", async () => {
    const { publicKey, chainCode, threshold, parties, protocol } = await cluster
      .engine(node(1))
      .describe(key.publicPackage);
    assert.deepEqual([threshold, parties, protocol], [4, [1, 2, 3, 4, 5], "frost"]);
    const items = [
      { path: [0, 0] as const, preimage: preimage("first") },
      { path: [1, 2_147_483_647] as const, preimage: preimage("second") },
    ];
    for (const signers of subsets(cluster.nodes, 4)) {
      const ends = await runSession(cluster, signers, signSpec(signers, items)());
      const [first, ...others] = [...results(ends, "frost-sign").values()].map((end) => end.signatures);
      assert.ok(first);
      for (const other of others) assert.deepEqual(other, first);
      assert.equal(others.length, 3);
      for (const [at, { path, preimage }] of items.entries()) {
        const signature: Uint8Array | undefined = first[at];
        assert.ok(signature);
        assert.ok(schnorr.verify(signature, sighash(preimage), outputKey(publicKey, chainCode, path)));
        const { publicPackage } = key;
        const engine = cluster.engine(node(5));
        assert.equal(await engine.verify({ publicPackage, path, preimage, signature }), true);
        const altered: Uint8Array = Uint8Array.from(signature);
        altered[40] = (altered[40] ?? 0) ^ 1;
        assert.equal(await engine.verify({ publicPackage, path, preimage, signature: altered }), false);
        assert.equal(await engine.verify({ publicPackage, path: [0, 7], preimage, signature }), false);
      }
    }
  });

  test("no nonce repeats over many signatures of one message", async () => {
    const signers = cluster.nodes.slice(0, 4);
    const item = { path: [0, 3] as const, preimage: preimage("same") };
    const ends = await runSession(cluster, signers, signSpec(signers, Array(20).fill(item))());
    const [made] = results(ends, "frost-sign").values();
    const nonces = made?.signatures.map((signature) => Buffer.from(signature.slice(0, 32)).toString("hex"));
    assert.equal(new Set(nonces).size, 20);
  });

  test("256 concurrent sessions all end with valid signatures", async () => {
    const { publicKey, chainCode } = await cluster.engine(node(1)).describe(key.publicPackage);
    const signers = cluster.nodes.slice(1);
    const path = [0, 9] as const;
    const all = Array.from({ length: 256 }, async (_, at) => {
      const item = { path, preimage: preimage(`message ${at}`) };
      const [end] = results(
        await runSession(cluster, signers, signSpec(signers, [item])()),
        "frost-sign",
      ).values();
      const [signature] = end?.signatures ?? [];
      assert.ok(signature);
      return schnorr.verify(signature, sighash(item.preimage), outputKey(publicKey, chainCode, path));
    });
    assert.deepEqual(new Set(await Promise.all(all)), new Set([true]));
  });

  const signers = [1, 2, 3, 4].map(node);
  const item = { path: [0, 0] as const, preimage: preimage("spend") };

  /** Alters what node 3 sends in `round`, the same way for all receivers. */
  const altering =
    (round: number, change: (payload: Uint8Array) => Uint8Array): Tamper =>
    (message) =>
      message.from === 3 && message.round === round
        ? [{ ...message, payload: change(Uint8Array.from(message.payload)) }]
        : [message];

  test("an altered share names its maker", async () => {
    const lastByte = altering(2, (payload) => {
      payload[payload.length - 1] = (payload[payload.length - 1] ?? 0) ^ 1;
      return payload;
    });
    const ends = await runSession(
      cluster,
      signers,
      signSpec(signers, [item])(),
      lastByte,
      [1, 2, 4].map(node),
    );
    for (const me of [1, 2, 4].map(node)) {
      const { code, blamed, round } = failureOf(ends, me);
      assert.deepEqual([code, blamed, round], ["invalid-round-message", [3], 2]);
    }
  });

  test("different commitments for different signers end the session and blame nobody honest", async () => {
    const execution = executionId();
    const other = executionId();
    // Node 3's commitments of a second session with other nonces: well-formed, and shown to node 4 only.
    const second: Message[] = [];
    await runSession(cluster, signers, signSpec(signers, [item])(other), (message) => {
      if (message.from === 3 && message.round === 1) second.push(message);
      return [message];
    });
    const [forged] = second;
    assert.ok(forged);
    const ends = await runSession(cluster, signers, signSpec(signers, [item])(execution), (message) => {
      if (message.from !== 3 || message.to !== 4 || message.round !== 1) return [message];
      const payload = Uint8Array.from(message.payload);
      payload.set(forged.payload.slice(70), 70);
      return [{ ...message, payload }];
    });
    for (const me of [1, 2, 4].map(node)) {
      const { code, blamed } = failureOf(ends, me);
      assert.deepEqual([code, blamed], ["equivocation", []]);
    }
  });

  test("signers who were told different messages find out and blame nobody", async () => {
    const execution = executionId();
    const ends = await runSession(cluster, signers, (me) =>
      signSpec(signers, [me === 2 ? { ...item, preimage: preimage("other") } : item])(execution)(me),
    );
    const { code, blamed } = failureOf(ends, node(1));
    assert.deepEqual([code, blamed], ["equivocation", []]);
  });

  test("a message of another session is refused and names its sender", async () => {
    const recorded: Message[] = [];
    await runSession(cluster, signers, signSpec(signers, [item])(), (message) => {
      if (message.from === 3 && message.round === 1) recorded.push(message);
      return [message];
    });
    const replaying: Tamper = (message) => {
      const replayed = recorded.find(({ to }) => to === message.to);
      return message.from === 3 && message.round === 1 && replayed ? [replayed] : [message];
    };
    const others = [1, 2, 4].map(node);
    const ends = await runSession(cluster, signers, signSpec(signers, [item])(), replaying, others);
    const { code, blamed } = failureOf(ends, node(1));
    assert.deepEqual([code, blamed], ["invalid-round-message", [3]]);
  });

  test("a second message for one place is refused, also when it repeats the first", async () => {
    const twice: Tamper = (message) =>
      message.from === 3 && message.round === 1 ? [message, message] : [message];
    const ends = await runSession(cluster, signers, signSpec(signers, [item])(), twice, [node(1)]);
    const { code, blamed } = failureOf(ends, node(1));
    assert.deepEqual([code, blamed], ["invalid-round-message", [3]]);
  });

  test("nodes outside a session cannot end it", async () => {
    const noise: Tamper = (message) => [
      { ...message, from: node(5), payload: new Uint8Array(10) },
      { ...message, from: message.to, payload: new Uint8Array(10) },
      message,
    ];
    results(await runSession(cluster, signers, signSpec(signers, [item])(), noise), "frost-sign");
  });

  test("key generation: split views of the first round end without a key", async () => {
    const id = keyId();
    const execution = executionId();
    const spec = (me: NodeIndex): EngineSpec => ({
      kind: "frost-keygen",
      executionId: execution,
      keyId: id,
      epoch: 0,
      me,
      parties: cluster.nodes,
      threshold: 4,
    });
    const split: Tamper = (message) => {
      if (message.from !== 3 || message.round !== 1 || message.to !== 5) return [message];
      const payload = Uint8Array.from(message.payload);
      payload[80] = (payload[80] ?? 0) ^ 1;
      return [{ ...message, payload }];
    };
    const ends = await runSession(cluster, cluster.nodes, spec, split, [1, 2, 4, 5].map(node));
    for (const me of cluster.nodes.filter((me) => me !== 3)) {
      const { code, blamed, round } = failureOf(ends, me);
      assert.deepEqual([code, blamed, round], ["equivocation", [], 2]);
    }
  });

  test("key generation: an opening that was not committed to names its sender", async () => {
    const id = keyId();
    const execution = executionId();
    const spec = (me: NodeIndex): EngineSpec => ({
      kind: "frost-keygen",
      executionId: execution,
      keyId: id,
      epoch: 0,
      me,
      parties: cluster.nodes,
      threshold: 4,
    });
    const other = altering(3, (payload) => {
      payload[payload.length - 1] = (payload[payload.length - 1] ?? 0) ^ 1;
      return payload;
    });
    const ends = await runSession(cluster, cluster.nodes, spec, other, [node(1)]);
    const { code, blamed, round } = failureOf(ends, node(1));
    assert.deepEqual([code, blamed, round], ["invalid-round-message", [3], 3]);
  });

  test("key generation: a wrong share names its sender to the one who got it", async () => {
    const id = keyId();
    const execution = executionId();
    const spec = (me: NodeIndex): EngineSpec => ({
      kind: "frost-keygen",
      executionId: execution,
      keyId: id,
      epoch: 0,
      me,
      parties: cluster.nodes,
      threshold: 4,
    });
    const wrong: Tamper = (message) =>
      message.to === 1
        ? altering(4, (payload) => {
            payload[payload.length - 1] = (payload[payload.length - 1] ?? 0) ^ 1;
            return payload;
          })(message)
        : asIs(message);
    const ends = await runSession(cluster, cluster.nodes, spec, wrong, [node(1)]);
    const { code, blamed, round } = failureOf(ends, node(1));
    assert.deepEqual([code, blamed, round], ["invalid-round-message", [3], 4]);
  });

  test("parties that disagree about the threshold make no key and blame nobody", async () => {
    const id = keyId();
    const execution = executionId();
    const ends = await runSession(cluster, cluster.nodes, (me) => ({
      kind: "frost-keygen",
      executionId: execution,
      keyId: id,
      epoch: 0,
      me,
      parties: cluster.nodes,
      threshold: me === 2 ? 5 : 4,
    }));
    const { code, blamed } = failureOf(ends, node(1));
    assert.deepEqual([code, blamed], ["equivocation", []]);
  });
});
