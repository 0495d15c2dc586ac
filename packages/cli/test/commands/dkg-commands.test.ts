import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";
import { deriveKey } from "@cairn/bitcoin";
import type { KeyView } from "@cairn/client";
import {
  keygenRequestHash,
  parseShape,
  type SignedKeygenRequest,
  signedKeygenRequestSchema,
  verifySigned,
} from "@cairn/core";
import { type Bench, createBench } from "../bench.ts";
import { type FakeNode, makeWallet } from "../fake-node.ts";

let bench: Bench;
let honest: FakeNode["answers"];
let taken: SignedKeygenRequest[];
before(async () => {
  bench = await createBench();
  honest = { ...bench.node.answers };
});
beforeEach(() => {
  taken = [];
  bench.node.answers = {
    ...honest,
    createKey: ({ body }) => {
      const signed = parseShape(signedKeygenRequestSchema, body);
      taken.push(signed);
      return keyOf(signed);
    },
  };
});

function keyOf({ body }: SignedKeygenRequest, change: Partial<KeyView> = {}): KeyView {
  return {
    keyId: keygenRequestHash(body),
    protocol: body.protocol,
    purpose: "spend",
    epoch: 0,
    status: "generating",
    stage: "collecting approvals",
    progress: 0.25,
    reason: null,
    approvals: [
      { node: 1, approve: true, reason: null },
      { node: 2, approve: false, reason: "clock-skew" },
    ],
    createdAt: "2027-01-15T08:00:00.000Z",
    updatedAt: "2027-01-15T08:00:00.000Z",
    ...change,
  };
}

const codeOf = (stderr: string): string => JSON.parse(stderr.trim().split("\n").at(-1) ?? "{}").code;

test("dkg start signs a request for the manifest's threshold with the operator's key", async () => {
  const ran = await bench.cairn(
    ...[
      "dkg",
      "start",
      "--protocol",
      "frost",
      "--threshold",
      "4",
      "--total",
      "5",
      "--label",
      "cold",
      "--json",
    ],
  );
  assert.equal(ran.exit, 0, ran.stderr);
  const [signed] = taken;
  const operator = bench.cluster.signedManifest.manifest.members[0]?.operator;
  assert.ok(signed !== undefined && operator !== undefined);
  assert.ok(verifySigned("cairn/keygen-request/v1", signed, operator));
  const { body } = signed;
  assert.deepEqual(
    [body.protocol, body.threshold, body.total, body.label, body.manifest, body.operator],
    ["frost", 4, 5, "cold", bench.cluster.manifestHash, operator],
  );
  assert.equal(body.expiry - body.createdAt, 3_600_000);
  assert.equal(JSON.parse(ran.stdout).keyId, keygenRequestHash(body));
});

test("another threshold or total than the manifest's is refused before anything is signed", async () => {
  for (const words of [
    ["--threshold", "3"],
    ["--total", "4"],
    ["--expiry", "8d"],
  ]) {
    const ran = await bench.cairn("dkg", "start", "--protocol", "cggmp24", ...words, "--json");
    assert.equal(codeOf(ran.stderr), "malformed");
    assert.equal(ran.exit, 2);
  }
  const unknown = await bench.cairn("dkg", "start", "--protocol", "schnorr", "--json");
  assert.equal(codeOf(unknown.stderr), "malformed");
  assert.equal(taken.length, 0);
});

test("a node that answers with another key is refused", async () => {
  bench.node.answers.createKey = ({ body }) =>
    keyOf(parseShape(signedKeygenRequestSchema, body), { keyId: "f".repeat(64) });
  const ran = await bench.cairn("dkg", "start", "--protocol", "frost", "--json");
  assert.equal(codeOf(ran.stderr), "peer-disagrees");
});

test("dkg start --wait ends when the key is active and all nodes have signed its wallet", async () => {
  let readings = 0;
  let wallet: FakeNode["wallet"] | null = null;
  bench.node.answers.getKey = async () => {
    const [signed] = taken.slice(-1);
    assert.ok(signed !== undefined);
    wallet ??= await makeWallet(bench.cluster, "default", {
      change: { keyId: keygenRequestHash(signed.body) },
    });
    return ++readings < 3 ? keyOf(signed) : keyOf(signed, { status: "active", stage: null, progress: 1 });
  };
  bench.node.answers.listWallets = () => ({ wallets: readings < 5 || wallet === null ? [] : [wallet.view] });
  const ran = await bench.cairn("dkg", "start", "--protocol", "cggmp24", "--wait");
  assert.equal(ran.exit, 0, ran.stderr);
  assert.ok(readings >= 5);
  assert.ok(wallet !== null);
  const made: FakeNode["wallet"] = wallet;
  assert.ok(ran.stdout.includes(deriveKey(made.descriptor, [0, 0]).address));
  assert.equal(
    ran.stderr,
    "[######------------------] 25% collecting approvals\n[########################]100% nodes sign the wallet\n",
  );
});

test("a wallet that not all nodes signed does not end the wait well", async () => {
  bench.node.answers.getKey = () => {
    const [signed] = taken.slice(-1);
    assert.ok(signed !== undefined);
    return keyOf(signed, { status: "active" });
  };
  bench.node.answers.listWallets = async () => {
    const [signed] = taken.slice(-1);
    const keyId = signed === undefined ? undefined : keygenRequestHash(signed.body);
    return {
      wallets: [
        (await makeWallet(bench.cluster, "x", { signers: [1], change: keyId ? { keyId } : {} })).view,
      ],
    };
  };
  const ran = await bench.cairn("dkg", "start", "--protocol", "cggmp24", "--wait", "--json");
  assert.equal(codeOf(ran.stderr), "peer-disagrees");
});

test("key generation that fails ends the wait with the node's reason", async () => {
  bench.node.answers.getKey = () => {
    const [signed] = taken.slice(-1);
    assert.ok(signed !== undefined);
    return keyOf(signed, { status: "failed", reason: "equivocation" });
  };
  const ran = await bench.cairn("dkg", "start", "--protocol", "frost", "--wait", "--json");
  assert.equal(codeOf(ran.stderr), "keygen-failed");
  assert.equal(ran.exit, 70);
});

test("dkg status shows all keys, or one by the beginning of its id", async () => {
  await bench.cairn("dkg", "start", "--protocol", "frost");
  const [signed] = taken;
  assert.ok(signed !== undefined);
  const { keyId } = keyOf(signed);
  bench.node.answers.listKeys = () => ({ keys: [keyOf(signed)] });
  bench.node.answers.getKey = () => keyOf(signed);
  const short = keyId.slice(0, 16);
  const table = [
    "KEY               PROTOCOL  STATUS      STAGE                 PROGRESS  APPROVALS     EPOCH  CREATED",
    `${short}  frost     generating  collecting approvals  25%       1, 1 against  0      2027-01-15 08:00:00`,
    "",
  ].join("\n");
  assert.equal((await bench.cairn("dkg", "status")).stdout, table);
  assert.equal((await bench.cairn("key", "list")).stdout, table);
  const one = await bench.cairn("dkg", "status", keyId.slice(0, 8));
  assert.match(one.stdout, /2 +no +clock-skew/);
  assert.equal(codeOf((await bench.cairn("dkg", "status", "00000000ff", "--json")).stderr), "not-found");
});
