import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  type ExecutionId,
  type KeyPath,
  type NodeIndex,
  type PresignatureId,
  signBody,
  type UnixMs,
} from "@cairn/core";
import fc from "fast-check";
import {
  acceptPublicData,
  choosePresignatures,
  defaultInventorySettings,
  type InventoryKey,
  inventoryStatus,
  isLawfulJob,
  isValidSubset,
  type PendingPresignature,
  type PresignatureFacts,
  type PresignJob,
  planPresigning,
  presignatureFault,
  presignatureIdOf,
  presignJobSchema,
  publicDataAcceptance,
  subsetsInOrder,
  type WantedPath,
} from "../src/index.ts";
import { cluster, keyId, nodesOf, preimageOf } from "./bench/session-bench.ts";
import { testIdentity } from "./bench/test-identity.ts";

const members = nodesOf(1, 2, 3, 4, 5);
const key: InventoryKey = { cluster, keyId, epoch: 0, members, threshold: 4 };
const settings = defaultInventorySettings;
const now = 3_000_000 as UnixMs;
let made = 0;

function item(
  path: KeyPath,
  signers: readonly NodeIndex[],
  state: PresignatureFacts["state"] = "ready",
): PresignatureFacts {
  made += 1;
  const id = made.toString(16).padStart(64, "0") as PresignatureId;
  return { id, keyId, path, epoch: 0, signers, state };
}

/** What all nodes plan together, as if every job were carried out. */
function planAll(
  stock: readonly PresignatureFacts[],
  wanted: readonly WantedPath[],
  up: readonly NodeIndex[],
): { readonly me: NodeIndex; readonly job: PresignJob }[] {
  return up.flatMap((me) =>
    planPresigning(key, stock, wanted, { me, up: new Set(up), refused: new Set(), now }, settings).map(
      (job) => ({
        me,
        job,
      }),
    ),
  );
}

describe("planning", () => {
  test("nodes that see the same stock plan each missing presignature once, of nodes that are up", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 6 }),
        fc.subarray(members, { minLength: 3 }),
        (outputs, up) => {
          const wanted = outputs.map((count, index): WantedPath => ({ path: [0, index], outputs: count }));
          const total = outputs.reduce((sum, count) => sum + count, 0);
          const jobs = planAll([], wanted, up).map(({ job }) => job);
          const sets = subsetsInOrder("00".repeat(32) as never, members, 4).filter((set) =>
            set.every((node) => up.includes(node)),
          ).length;
          const planned = jobs.reduce((sum, job) => sum + job.paths.length, 0);
          assert.ok(planned <= Math.min(settings.target, total * sets));
          if (sets === 0) assert.equal(planned, 0);
          else assert.ok(planned > 0);
          assert.equal(new Set(jobs.map((job) => job.signers.join())).size, jobs.length);
          for (const job of jobs) {
            assert.ok(presignJobSchema.safeParse(job).success);
            assert.ok(job.paths.length <= settings.batch && isValidSubset(job.signers, members, 4));
            assert.ok(job.signers.every((node) => up.includes(node)));
            assert.ok(isLawfulJob(key, job, now, settings));
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test("refills to the target below the mark, and rests above it while no output is bare", () => {
    const sets = subsetsInOrder("00".repeat(32) as never, members, 4);
    const wanted = Array.from({ length: 10 }, (_, index): WantedPath => ({ path: [0, index], outputs: 1 }));
    const covered = sets.slice(0, 2).flatMap((set) => wanted.map(({ path }) => item(path, set)));
    assert.equal(covered.length, settings.refillBelow);
    assert.deepEqual(planAll(covered, wanted, members), []);
    assert.ok(planAll(covered.slice(1), wanted, members).length > 0);
    const deposit = [...wanted, { path: [0, 10] as KeyPath, outputs: 1 }];
    assert.ok(planAll(covered, deposit, members).some(({ job }) => job.paths.some((path) => path[1] === 10)));
  });

  test("counts what was made for coins that are spent as no stock", () => {
    const sets = subsetsInOrder("00".repeat(32) as never, members, 4);
    const spent = Array.from({ length: 10 }, (_, index): KeyPath => [0, index]);
    const stock = spent.flatMap((path) => sets.map((set) => item(path, set)));
    assert.equal(stock.length, settings.target);
    const planned = planAll(stock, [{ path: [0, 10], outputs: 1 }], members);
    assert.equal(
      planned.reduce((sum, { job }) => sum + job.paths.length, 0),
      sets.length,
    );
  });

  test("gives a bare deposit its presignature though others fill the target", () => {
    const sets = subsetsInOrder("00".repeat(32) as never, members, 4);
    const change: KeyPath = [1, 0];
    const deposit: KeyPath = [0, 7];
    const stock = sets.flatMap((set) => Array.from({ length: 10 }, () => item(change, set)));
    const wanted = [
      { path: change, outputs: 10 },
      { path: deposit, outputs: 1 },
    ];
    assert.equal(stock.length, settings.target);
    const paths = planAll(stock, wanted, members).flatMap(({ job }) => job.paths);
    assert.deepEqual(paths, [deposit]);
  });

  test("counts stock of absent signers as no use", () => {
    const wanted: WantedPath[] = [{ path: [0, 0], outputs: 1 }];
    const stock = [item([0, 0], nodesOf(1, 2, 3, 4)), item([0, 0], nodesOf(2, 3, 4, 5), "pending")];
    const status = inventoryStatus(key, stock, wanted, new Set(nodesOf(1, 2, 3, 5)), settings);
    assert.deepEqual(status, { ready: 1, usable: 0, pending: 1, wanted: 5, bare: 1 });
    const all = inventoryStatus(key, stock, wanted, new Set(members), settings);
    assert.deepEqual([all.usable, all.bare], [1, 0]);
  });

  test("takes part in no job of another key, set size, batch size or time", () => {
    const job: PresignJob = {
      version: 1,
      cluster,
      keyId,
      epoch: 0,
      signers: nodesOf(1, 2, 3, 4),
      paths: [[0, 0]],
      slot: Math.floor(now / settings.checkMs),
    };
    assert.ok(isLawfulJob(key, job, now, settings));
    const wrong: Partial<PresignJob>[] = [
      { keyId: "00".repeat(32) as never },
      { epoch: 1 },
      { signers: nodesOf(1, 2, 3) },
      { paths: Array.from({ length: settings.batch + 1 }, (_, index): [0 | 1, number] => [0, index]) },
      { slot: job.slot + 2 },
      { slot: job.slot - 2 },
    ];
    for (const change of wrong) assert.equal(isLawfulJob(key, { ...job, ...change }, now, settings), false);
  });
});

describe("choosing", () => {
  const paths: KeyPath[] = [
    [0, 0],
    [0, 1],
    [0, 0],
  ];
  const [one, two] = [nodesOf(1, 2, 3, 4), nodesOf(1, 2, 3, 5)];

  test("one signer set serves all inputs, each input its own presignature, of its own path", () => {
    const stock = [
      item([0, 0], one),
      item([0, 1], two),
      item([0, 0], two),
      item([0, 1], one),
      item([0, 0], two),
      item([1, 0], one),
    ];
    const choice = choosePresignatures(key, stock, paths, [one, two]);
    assert.deepEqual(choice?.signers, two);
    assert.equal(new Set(choice?.items).size, 3);
    choice?.items.forEach((id, input) => {
      const found = stock.find((facts) => facts.id === id);
      assert.deepEqual(found?.path, paths[input]);
      assert.deepEqual(found?.signers, two);
    });
  });

  test("nothing that is pending, used, or of another key or epoch is chosen", () => {
    const path: KeyPath[] = [[0, 0]];
    const states = ["pending", "burned", "discarded"] as const;
    for (const state of states) {
      assert.equal(choosePresignatures(key, [item([0, 0], one, state)], path, [one]), null);
    }
    const ready = item([0, 0], one);
    assert.equal(choosePresignatures({ keyId, epoch: 1 }, [ready], path, [one]), null);
    assert.equal(choosePresignatures(key, [ready], path, [two]), null);
    assert.deepEqual(choosePresignatures(key, [ready], path, [one])?.items, [ready.id]);
  });

  test("a presignature serves only the key, epoch, path and exact signer set that it was made for", () => {
    const ready = item([0, 0], one);
    const input = { input: 0, presignatureId: ready.id, path: [0, 0] as KeyPath, ...preimageOf("x") };
    const use = { input, keyId, epoch: 0, signers: one };
    assert.equal(presignatureFault(ready, use), null);
    assert.equal(presignatureFault(undefined, use), "presignature-mismatch");
    assert.equal(presignatureFault({ ...ready, state: "burned" }, use), "presignature-used");
    assert.equal(presignatureFault({ ...ready, state: "pending" }, use), "presignature-mismatch");
    for (const change of [{ signers: two }, { epoch: 1 }, { path: [1, 0] as KeyPath }]) {
      assert.equal(presignatureFault({ ...ready, ...change }, use), "presignature-mismatch");
    }
  });
});

test("presignature ids differ by job, execution and item", () => {
  const job: PresignJob = {
    version: 1,
    cluster,
    keyId,
    epoch: 0,
    signers: nodesOf(1, 2, 3, 4),
    paths: [
      [0, 0],
      [0, 0],
    ],
    slot: 1,
  };
  const execution = (text: string) => text.repeat(32) as ExecutionId;
  const ids = [
    presignatureIdOf(job, execution("aa"), 0),
    presignatureIdOf(job, execution("aa"), 1),
    presignatureIdOf(job, execution("bb"), 0),
    presignatureIdOf({ ...job, slot: 2 }, execution("aa"), 0),
    presignatureIdOf({ ...job, epoch: 1 }, execution("aa"), 0),
  ];
  assert.equal(new Set(ids).size, ids.length);
});

describe("a pending presignature", () => {
  const signers = nodesOf(1, 2, 3, 4);
  const identities = new Map(members.map((node) => [node, testIdentity(`node ${node}`).publicKey]));
  const facts = { cluster, identities };
  const pending: PendingPresignature = {
    presignatureId: "0d".repeat(32) as PresignatureId,
    signers,
    publicData: Uint8Array.of(1, 2, 3),
    acceptances: [],
  };
  const wordOf = (node: NodeIndex, publicData = pending.publicData, by = node) =>
    signBody(
      "cairn/presignature-data/v1",
      publicDataAcceptance({ cluster, node, presignatureId: pending.presignatureId, signers, publicData }),
      testIdentity(`node ${by}`),
    );

  test("is ready when all its signers signed its public data, in any order, and not before", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(signers), (order) => {
        let current = pending;
        for (const [said, node] of order.entries()) {
          const verdict = acceptPublicData(current, node, wordOf(node), facts);
          const expected = said === signers.length - 1 ? "ready" : "pending";
          assert.ok(verdict.verdict === expected);
          assert.deepEqual(acceptPublicData(verdict.item, node, wordOf(node), facts), verdict);
          current = verdict.item;
        }
      }),
    );
  });

  test("is discarded when a signer holds other public data", () => {
    const verdict = acceptPublicData(
      pending,
      3 as NodeIndex,
      wordOf(3 as NodeIndex, Uint8Array.of(9)),
      facts,
    );
    assert.ok(verdict.verdict === "discard" && verdict.node === 3);
  });

  test("heeds no stranger, forger or word on another presignature", () => {
    const other = { ...pending, presignatureId: "0e".repeat(32) as PresignatureId };
    assert.equal(acceptPublicData(pending, 5 as NodeIndex, wordOf(5 as NodeIndex), facts).verdict, "refuse");
    assert.equal(acceptPublicData(pending, 2 as NodeIndex, wordOf(3 as NodeIndex), facts).verdict, "refuse");
    const forged = wordOf(2 as NodeIndex, pending.publicData, 3 as NodeIndex);
    assert.equal(acceptPublicData(pending, 2 as NodeIndex, forged, facts).verdict, "refuse");
    assert.equal(acceptPublicData(other, 2 as NodeIndex, wordOf(2 as NodeIndex), facts).verdict, "refuse");
  });
});
