import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { isCairnError, type KeyPath, type NodeIndex, type PresignatureId } from "@cairn/core";
import type { EngineSpec, IssuePartial } from "@cairn/signing";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { HDKey } from "@scure/bip32";
import {
  asIs,
  auxiliary,
  type Cluster,
  ecdsaKey,
  executionId,
  failureOf,
  type Key,
  node,
  openCluster,
  presignatureId,
  results,
  runSession,
  signerFacts,
  type Tamper,
} from "./support/wire.ts";

const preimage = (text: string) => new Uint8Array(Buffer.from(text));
const signers = [1, 2, 3, 4].map(node);
const path: KeyPath = [0, 5];

describe("CGGMP24 at the reduced level", () => {
  let cluster: Cluster;
  let key: Key;
  let aux: Map<NodeIndex, Uint8Array>;
  let burns = 0;

  before(async () => {
    cluster = await openCluster({ primes: { target: 4 } });
    aux = await auxiliary(cluster);
    key = await ecdsaKey(cluster, aux);
  });
  after(() => cluster.close());

  /** Verifies with another library, under the child key that another library derives. */
  async function accepts(signature: Uint8Array, at: KeyPath, message: Uint8Array): Promise<boolean> {
    const { publicKey, chainCode } = await cluster.engine(node(1)).describe(key.publicPackage);
    const child = new HDKey({ publicKey, chainCode }).derive(`m/${at[0]}/${at[1]}`).publicKey;
    assert.ok(child);
    return secp256k1.verify(signature, sha256(sha256(message)), child, { prehash: false, lowS: true });
  }

  const presignSpec =
    (items: readonly { presignatureId: PresignatureId; path: KeyPath }[], execution = executionId()) =>
    (me: NodeIndex): EngineSpec => ({
      kind: "cggmp24-presign",
      ...signerFacts(key, signers, me, execution),
      items,
    });

  const signSpec =
    (items: readonly { path: KeyPath; preimage: Uint8Array }[], execution = executionId()) =>
    (me: NodeIndex): EngineSpec => ({
      kind: "cggmp24-sign",
      ...signerFacts(key, signers, me, execution),
      items,
    });

  interface Made {
    readonly id: PresignatureId;
    readonly publicData: Uint8Array;
    readonly sealed: ReadonlyMap<NodeIndex, Uint8Array>;
  }

  async function presign(paths: readonly KeyPath[]): Promise<Made[]> {
    const items = paths.map((path) => ({ presignatureId: presignatureId(), path }));
    const made = results(await runSession(cluster, signers, presignSpec(items)), "cggmp24-presign");
    return items.map(({ presignatureId: id }, at) => {
      const mine = [...made].map(([me, end]) => {
        const item = end.items[at];
        assert.equal(item?.presignatureId, id);
        assert.ok(item);
        return [me, item] as const;
      });
      const [first] = mine;
      assert.ok(first);
      for (const [, item] of mine) assert.deepEqual(item.publicData, first[1].publicData);
      return { id, publicData: first[1].publicData, sealed: new Map(mine.map(([me, i]) => [me, i.sealed])) };
    });
  }

  function issue(
    made: Made,
    me: NodeIndex,
    message: Uint8Array,
    change: Partial<IssuePartial> = {},
  ): IssuePartial {
    const sealedPresignature = made.sealed.get(me);
    assert.ok(sealedPresignature);
    burns += 1;
    const receipt = { presignatureId: made.id, epoch: key.epoch, burnCounter: burns };
    const { keyId, epoch } = key;
    return { keyId, epoch, me, sealedPresignature, receipt, path, signers, preimage: message, ...change };
  }

  async function partials(made: Made, message: Uint8Array, change: Partial<IssuePartial> = {}) {
    const all = [];
    for (const me of signers) {
      all.push({
        from: me,
        partial: await cluster.engine(me).issuePartial(issue(made, me, message, change)),
      });
    }
    return all;
  }

  test("a full signature of several inputs verifies under the children that another library derives", async () => {
    const items = [
      { path: [0, 0] as const, preimage: preimage("first") },
      { path: [1, 17] as const, preimage: preimage("second") },
    ];
    const ends = results(await runSession(cluster, signers, signSpec(items)), "cggmp24-sign");
    const [first, ...others] = [...ends.values()].map((end) => end.signatures);
    assert.ok(first);
    for (const other of others) assert.deepEqual(other, first);
    for (const [at, { path, preimage }] of items.entries()) {
      const signature: Uint8Array | undefined = first[at];
      assert.ok(signature);
      assert.ok(await accepts(signature, path, preimage));
      const engine = cluster.engine(node(5));
      const { publicPackage } = key;
      assert.equal(await engine.verify({ publicPackage, path, preimage, signature }), true);
      assert.equal(await engine.verify({ publicPackage, path: [0, 99], preimage, signature }), false);
    }
  });

  test("a presignature signs in one round, once, on its own path, with its own signers", async () => {
    const [made, spare] = await presign([path, path]);
    assert.ok(made && spare);
    const message = preimage("spend");
    const engine = cluster.engine(node(1));
    const refused = async (input: IssuePartial, code: string) =>
      assert.rejects(
        engine.issuePartial(input),
        (error: unknown) => isCairnError(error) && error.code === code,
      );

    await refused(issue(made, node(1), message, { path: [0, 6] }), "presignature-mismatch");
    await refused(
      issue(made, node(1), message, { signers: [1, 2, 3, 5].map(node) }),
      "presignature-mismatch",
    );
    await refused(issue(made, node(1), message, { epoch: 1 }), "presignature-mismatch");
    const foreign = { presignatureId: spare.id, epoch: key.epoch, burnCounter: burns + 1 };
    await refused(issue(made, node(1), message, { receipt: foreign }), "sealed-blob-invalid");
    const peers = made.sealed.get(node(2));
    assert.ok(peers);
    await refused(issue(made, node(1), message, { sealedPresignature: peers }), "sealed-blob-invalid");

    const all = await partials(made, message);
    const input = { publicPackage: key.publicPackage, publicData: made.publicData, path, preimage: message };
    const signature = await cluster.engine(node(5)).combinePartials({ ...input, partials: all });
    assert.ok(await accepts(signature, path, message));

    await refused(issue(made, node(1), message), "presignature-used");
    await refused(issue(made, node(1), preimage("another")), "presignature-used");
    const stale = { presignatureId: spare.id, epoch: key.epoch, burnCounter: 1 };
    await refused(issue(spare, node(1), message, { receipt: stale }), "presignature-used");
  });

  test("an altered, foreign or missing partial is refused and its maker named", async () => {
    const [made, spare] = await presign([path, path]);
    assert.ok(made && spare);
    const message = preimage("spend");
    const good = await partials(made, message);
    const others = await partials(spare, message);
    const engine = cluster.engine(node(5));
    const input = { publicPackage: key.publicPackage, publicData: made.publicData, path, preimage: message };
    const blamed = async (replaced: typeof good, expected: number[]) =>
      assert.rejects(engine.combinePartials({ ...input, partials: replaced }), (error: unknown) => {
        assert.ok(isCairnError(error, "invalid-partial"));
        assert.deepEqual(error.data.blamed, expected);
        return true;
      });
    const altered = (at: number) =>
      good.map((one, index) => {
        if (index !== at) return one;
        const partial = Uint8Array.from(one.partial);
        partial[64] = (partial[64] ?? 0) ^ 1;
        return { ...one, partial };
      });
    await blamed(altered(2), [3]);
    await blamed(
      good.map((one, at) => (at === 1 ? (others[1] ?? one) : one)),
      [2],
    );
    await blamed(
      good.map((one, at) => (at === 3 ? { ...one, partial: new Uint8Array(7) } : one)),
      [4],
    );
    const mismatch = (error: unknown) => isCairnError(error, "presignature-mismatch");
    await assert.rejects(engine.combinePartials({ ...input, partials: good.slice(1) }), mismatch);
    await assert.rejects(
      engine.combinePartials({ ...input, partials: [...good.slice(0, 3), ...good.slice(0, 1)] }),
      mismatch,
    );
    await assert.rejects(engine.combinePartials({ ...input, path: [0, 6], partials: good }), mismatch);
    // Another message than the partials were made for makes every one of them fail.
    await assert.rejects(
      engine.combinePartials({ ...input, preimage: preimage("other"), partials: good }),
      (error: unknown) => isCairnError(error, "invalid-partial"),
    );
    assert.ok(await accepts(await engine.combinePartials({ ...input, partials: good }), path, message));
  });

  test("presigners who were told different ids or paths find out and blame nobody", async () => {
    const execution = executionId();
    const [one, two] = [presignatureId(), presignatureId()];
    const ends = await runSession(
      cluster,
      signers,
      (me) => presignSpec([{ presignatureId: me === 2 ? two : one, path }], execution)(me),
      asIs,
      [node(1)],
    );
    const { code, blamed } = failureOf(ends, node(1));
    assert.deepEqual([code, blamed], ["equivocation", []]);
  });

  /** Alters a digit of the first big number after `start`; the message stays well-formed. */
  function alterNumber(message: Uint8Array, start: number): Uint8Array {
    const payload = Uint8Array.from(message);
    // Big numbers travel as {"radix": 16, "value": "<hexadecimal>"}; a long text starts three bytes after the key.
    const at = Buffer.from(payload).indexOf("value", start) + 20;
    assert.ok(at > start + 20);
    payload[at] = payload[at] === 0x31 ? 0x32 : 0x31;
    return payload;
  }

  const signing = () => signSpec([{ path, preimage: preimage("x") }]);

  for (const which of ["psi0", "psi1"]) {
    test(`each altered proof of the first round names its maker: ${which}`, async () => {
      // The crate as published accepted a message of which one proof was valid.
      const tamper: Tamper = (message) => {
        if (message.broadcast || message.from !== 3 || message.round !== 1) return [message];
        const start = Buffer.from(message.payload).indexOf(which);
        assert.ok(start > 70);
        return [{ ...message, payload: alterNumber(message.payload, start) }];
      };
      const ends = await runSession(cluster, signers, signing(), tamper, [1, 2, 4].map(node));
      for (const me of [1, 2, 4].map(node)) {
        const { code, blamed, round } = failureOf(ends, me);
        assert.deepEqual([code, blamed, round], ["invalid-round-message", [3], 1]);
      }
    });
  }

  for (const which of ["psi_j", "hat_psi_j"]) {
    test(`an altered proof of the second round names its maker: ${which}`, async () => {
      const tamper: Tamper = (message) => {
        if (message.from !== 3 || message.round !== 3) return [message];
        const start = Buffer.from(message.payload).lastIndexOf(which);
        assert.ok(start > 70);
        return [{ ...message, payload: alterNumber(message.payload, start) }];
      };
      const ends = await runSession(cluster, signers, signing(), tamper, [node(1)]);
      const { code, blamed, round } = failureOf(ends, node(1));
      assert.deepEqual([code, blamed, round], ["invalid-round-message", [3], 3]);
    });
  }

  test("an altered share of the sums of presigning ends it without a presignature", async () => {
    const tamper: Tamper = (message) => {
      if (message.from !== 3 || message.round !== 4) return [message];
      const payload = Uint8Array.from(message.payload);
      const bytes = Buffer.from(payload);
      const at = bytes.indexOf("scalar", bytes.indexOf("delta")) + 20;
      assert.ok(at > 90);
      payload[at] = (payload[at] ?? 0) ^ 1;
      return [{ ...message, payload }];
    };
    const ends = await runSession(cluster, signers, signing(), tamper, [node(1)]);
    const { code, blamed, round } = failureOf(ends, node(1));
    assert.deepEqual([code, blamed, round], ["invalid-round-message", [], 4]);
  });

  test("an altered partial in a full signature names its maker", async () => {
    const tamper: Tamper = (message) => {
      if (message.from !== 3 || message.round !== 5) return [message];
      const payload = Uint8Array.from(message.payload);
      payload[payload.length - 1] = (payload[payload.length - 1] ?? 0) ^ 1;
      return [{ ...message, payload }];
    };
    const ends = await runSession(cluster, signers, signing(), tamper, [1, 2, 4].map(node));
    for (const me of [1, 2, 4].map(node)) {
      const { code, blamed, round } = failureOf(ends, me);
      assert.deepEqual([code, blamed, round], ["invalid-round-message", [3], 5]);
    }
  });

  test("different first-round broadcasts for different signers end the session and blame nobody", async () => {
    const tamper: Tamper = (message) =>
      message.from === 3 && message.round === 1 && message.broadcast && message.to === 4
        ? [{ ...message, payload: alterNumber(message.payload, 70) }]
        : [message];
    const ends = await runSession(cluster, signers, signing(), tamper, [1, 2, 4].map(node));
    for (const me of [1, 2, 4].map(node)) {
      const { code, blamed } = failureOf(ends, me);
      assert.deepEqual([code, blamed], ["equivocation", []]);
    }
  });

  test("auxiliary information of other parties is refused", async () => {
    const sealedAux = aux.get(node(1));
    assert.ok(sealedAux);
    const parties = [1, 2, 3, 4].map(node);
    const failed = await new Promise<{ code: string }>((resolve) => {
      cluster.engine(node(1)).start(
        {
          kind: "cggmp24-keygen",
          executionId: executionId(),
          keyId: key.keyId,
          epoch: 0,
          me: node(1),
          parties,
          threshold: 3,
          sealedAux,
        },
        { send() {}, progress() {}, done() {}, failed: resolve },
      );
    });
    assert.equal(failed.code, "sealed-blob-invalid");
  });
});
