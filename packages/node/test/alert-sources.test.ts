import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type BanRow,
  encodeCanonical,
  hashHexSchema,
  keygenRequestHash,
  nodeIndexSchema,
  type PeerStatus,
  type UnixMs,
  type ViolationRow,
} from "@cairn/core";
import { ManualClock } from "@cairn/core/test-support";
import type { KeyProgress } from "@cairn/runtime";
import { openMemoryStore } from "@cairn/storage";
import type { AlertFact } from "../src/alert-desk.ts";
import { type AlertedParts, alertSources } from "../src/alert-sources.ts";
import { FakeNode } from "./fake-node.ts";
import { testCluster } from "./node-folder.ts";
import { signedKeygen } from "./signed-keygen.ts";

const DAY = 24 * 60 * 60 * 1000;
const node = (index: number) => nodeIndexSchema.parse(index);
const hash = (digit: string) => hashHexSchema.parse(digit.repeat(64));

async function scene() {
  const cluster = testCluster();
  const clock = new ManualClock();
  const fake = await FakeNode.open(cluster, { store: openMemoryStore({}), clock });
  const now = clock.now();
  const peer: PeerStatus = {
    node: node(2),
    up: true,
    lastSeen: now,
    lastError: null,
    roundTripMs: 1,
    protocolVersion: 1,
    epoch: 0,
  } as PeerStatus;
  fake.peersNow = [peer];
  const violations: ViolationRow[] = [];
  const bans: BanRow[] = [];
  const keys: KeyProgress[] = [];
  const facade = Object.assign(Object.create(fake), {
    bans: { bans: () => bans },
    keys: { ...fake.keys, list: () => keys },
  }) as FakeNode;
  const well: AlertedParts = {
    me: node(1),
    manifest: cluster.manifest,
    node: facade,
    store: { violations: async () => violations },
    storageWritable: () => true,
    clockAgrees: () => true,
    chainOk: () => true,
    coordination: () => ({ type: "none", failingSince: null }),
    certificateEnds: now + 365 * DAY,
    setBack: () => [],
    rolledBack: () => false,
    dissenting: () => [],
    clock,
  };
  const look = async (change: Partial<AlertedParts> = {}): Promise<readonly AlertFact[]> => {
    const answers = await Promise.all(alertSources({ ...well, ...change }).map((source) => source()));
    return answers.flat();
  };
  const kinds = async (change: Partial<AlertedParts> = {}) =>
    (await look(change)).map(({ kind, subject }) => `${kind} ${subject}`).toSorted();
  return { cluster, clock, fake, peer, violations, bans, keys, look, kinds, now };
}

test("a node that is well has no alerts, and each part that is not well has its own", async () => {
  const { kinds, now, fake, peer } = await scene();
  const since = now as UnixMs;
  assert.deepEqual(await kinds(), []);
  assert.deepEqual(await kinds({ rolledBack: () => true }), ["rolled-back 1"]);
  assert.deepEqual(await kinds({ storageWritable: () => false }), ["storage 1"]);
  assert.deepEqual(await kinds({ clockAgrees: () => false }), ["clock 1"]);
  assert.deepEqual(await kinds({ chainOk: () => false }), ["chain-unavailable 1"]);
  assert.deepEqual(await kinds({ dissenting: () => [{ source: 3, since }] }), ["chain-sources-disagree 3"]);
  assert.deepEqual(await kinds({ setBack: () => [node(2)] }), ["peer-set-back 2"]);
  assert.deepEqual(await kinds({ certificateEnds: now + 29 * DAY }), ["certificate-ends 1"]);
  assert.deepEqual(await kinds({ coordination: () => ({ type: "etcd", failingSince: since }) }), [
    "coordination 1",
  ]);
  fake.peersNow = [{ ...peer, up: false }];
  assert.deepEqual(await kinds(), ["no-quorum 1", "peer-down 2"]);
});

test("a ban is shown while it is in force, and a fault without a ban for a day", async () => {
  const { kinds, bans, violations, now, clock } = await scene();
  violations.push({
    id: hash("a"),
    node: node(2),
    type: "InvalidSignature",
    subject: null,
    evidence: new Uint8Array(),
    action: "reject",
    detectedAt: now,
  } as ViolationRow);
  assert.deepEqual(await kinds(), [`violation ${hash("a")}`]);
  bans.push({
    node: node(2),
    violation: hash("a"),
    from: now,
    until: null,
    scope: "cluster",
    count: 1,
    liftedAt: null,
  });
  assert.deepEqual(await kinds(), ["ban 2", "no-quorum 1"]);
  bans.pop();
  clock.advance(DAY);
  assert.deepEqual(await kinds(), []);
});

test("a key that could not be made is shown for seven days, with every node's word", async () => {
  const { cluster, clock, keys, look, now } = await scene();
  const request = signedKeygen(cluster);
  const word = (index: number, reason: string | null) => ({
    body: {
      version: 1 as const,
      cluster: cluster.manifest.cluster,
      keyId: keygenRequestHash(request.body),
      node: node(index),
      approve: reason === null,
      reason,
      auxExecution: null,
    },
    signature: "" as never,
  });
  const row: KeyProgress["row"] = {
    keyId: keygenRequestHash(request.body),
    protocol: "frost",
    purpose: "wallet",
    epoch: 0,
    status: "failed",
    request: encodeCanonical(request),
    publicPackage: null,
    sealedShare: null,
    reason: "keygen-failed",
    createdAt: now,
    updatedAt: now,
  };
  const approvals = [word(1, null), word(2, "operator-refused")];
  keys.push({ row, request, standing: "rejected", stage: "failed", progress: null, approvals });
  const [alert] = await look();
  assert.equal(alert?.kind, "proposal-failed");
  assert.deepEqual(
    [alert.subject, alert.since, alert.data.type, alert.data.approved, alert.data.refused],
    [row.keyId, now, "keygen", "1", "2:operator-refused"],
  );
  clock.advance(7 * DAY);
  assert.deepEqual(await look(), []);
});
