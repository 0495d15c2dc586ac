import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { EngineFailure } from "@cairn/signing";
import { openPrimeStore, type PrimeStore } from "../src/prime-store.ts";
import { auxiliary, executionId, node, openCluster } from "./support/wire.ts";

const prime = () => ({ id: new Uint8Array(randomBytes(32)), sealed: new Uint8Array(randomBytes(100)) });

describe("the store of sealed primes", () => {
  let folder: string;
  let store: PrimeStore;

  before(async () => {
    folder = join(await mkdtemp(join(tmpdir(), "cairn-primes-")), "primes");
    store = await openPrimeStore(folder);
  });
  after(() => rm(join(folder, ".."), { recursive: true, force: true }));

  test("gives each prime out once, also to takers at the same time", async () => {
    const put = [prime(), prime(), prime(), prime(), prime()];
    for (const one of put) await store.put(one);
    const taken = await Promise.all([store.take(2), store.take(2), store.take(2)]);
    const given = taken.flatMap((some) => some ?? []);
    assert.equal(given.length, 4);
    const ids = given.map(({ id }) => Buffer.from(id).toString("hex"));
    assert.equal(new Set(ids).size, 4);
    for (const { id, sealed } of given) {
      const original = put.find((one) => Buffer.compare(one.id, id) === 0);
      assert.deepEqual(sealed, original?.sealed);
    }
    assert.equal(await store.count(), 1);
    assert.equal((await readdir(folder)).length, 1);
    assert.ok(await store.take(1));
  });

  test("takes none where there are too few, and passes over foreign files", async () => {
    await store.put(prime());
    await writeFile(join(folder, "notes.txt"), "x");
    await writeFile(join(folder, `${"0".repeat(64)}.sealed.tmp`), "half");
    assert.equal(await store.count(), 1);
    assert.equal(await store.take(2), undefined);
    assert.equal(await store.count(), 1);
  });

  test("writes with mode 0600", async () => {
    const one = prime();
    await store.put(one);
    const { mode } = await stat(join(folder, `${Buffer.from(one.id).toString("hex")}.sealed`));
    assert.equal(mode & 0o777, 0o600);
  });
});

describe("primes of an engine", () => {
  test("are found in the background, used by the auxiliary session, and found again", async () => {
    const cluster = await openCluster({ size: 2, primes: { target: 4 } });
    try {
      const state = await cluster.engine(node(1)).primes();
      assert.equal(state.target, 4);
      const files = join(cluster.folder, "node-1", "primes");
      const before = new Set(await readdir(files));
      await auxiliary(cluster);
      const deadline = Date.now() + 60_000;
      while ((await cluster.engine(node(1)).primes()).ready < 4) {
        assert.ok(Date.now() < deadline, "the stock was not refilled");
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      for (const name of await readdir(files))
        assert.equal(before.has(name), false, "a used prime is still there");
    } finally {
      await cluster.close();
    }
  });

  test("a session that waits for primes says so, and can be cancelled", async () => {
    const cluster = await openCluster({ size: 2, primes: { target: 4 } });
    try {
      const spec = {
        kind: "cggmp24-aux",
        executionId: executionId(),
        me: node(1),
        parties: cluster.nodes,
      } as const;
      const step = await new Promise<string>((resolve) => {
        const session = cluster.engine(node(1)).start(spec, {
          send() {},
          progress: (progress) => {
            resolve(progress.step);
            session.cancel();
          },
          done() {},
          failed() {},
        });
      });
      assert.match(step, /^generating primes \([0-3] of 4\)$/);
    } finally {
      await cluster.close();
    }
  });

  test("an engine that never searches fails the session with no-primes", async () => {
    const cluster = await openCluster({ size: 2 });
    try {
      const spec = {
        kind: "cggmp24-aux",
        executionId: executionId(),
        me: node(1),
        parties: cluster.nodes,
      } as const;
      const failure = await new Promise<EngineFailure>((failed) => {
        cluster.engine(node(1)).start(spec, { send() {}, progress() {}, done() {}, failed });
      });
      assert.equal(failure.code, "no-primes");
    } finally {
      await cluster.close();
    }
  });
});
