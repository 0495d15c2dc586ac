import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CairnError,
  type Courier,
  isCairnError,
  type NodeIndex,
  type PeerMessage,
  type StoreWrite,
} from "@cairn/core";
import { type AuditFact, Loop } from "../src/loop.ts";

const peer = 2 as NodeIndex;
const message: PeerMessage = {
  kind: "vote",
  session: null,
  round: 0,
  payload: new Uint8Array(),
  trace: null,
};

function bench(commit: (writes: readonly StoreWrite[], log: string[]) => Promise<void> = async () => {}) {
  const log: string[] = [];
  const courier: Courier = {
    start: async () => {},
    send: (to, { kind }) => void log.push(`send ${kind} ${to}`),
    posting: (to, id, { kind }) => ({
      write: "outbox",
      row: { to, id, kind, message: new Uint8Array(), createdAt: 0 as never },
    }),
    kick: () => void log.push("kick"),
    peers: () => [],
    setRefused: () => {},
    useSealingKeys: () => {},
    close: async () => {},
  };
  let length = 0;
  let pending = 0;
  const audit = {
    entries: (facts: readonly AuditFact[]): StoreWrite[] => {
      pending = facts.length;
      return facts.map((fact, at) => ({
        write: "meta",
        key: `audit ${length + at} ${fact.kind}`,
        value: new Uint8Array(),
      }));
    },
    committed: () => {
      length += pending;
    },
    discarded: () => {
      pending = 0;
    },
  };
  const store = {
    commit: async (writes: readonly StoreWrite[]) => {
      await commit(writes, log);
      log.push(`commit ${writes.map((w) => ("key" in w ? w.key : w.write)).join(",")}`);
    },
  };
  const reported: unknown[] = [];
  const report = (cause: unknown) => void reported.push(cause);
  return { log, reported, loop: new Loop({ store, courier, audit, report }) };
}

const meta = (key: string): StoreWrite => ({ write: "meta", key, value: new Uint8Array() });

test("a task's writes are durable before its messages leave, and both before it is applied", async () => {
  const { log, loop } = bench();
  const value = await loop.run((batch) => {
    batch.afterwards(() => log.push("apply"));
    batch.send([peer], message);
    batch.post([peer], "id", message);
    batch.write(meta("a"));
    batch.audit("vote-cast", "x");
    return 7;
  });
  assert.equal(value, 7);
  assert.deepEqual(log, ["commit outbox,a,audit 0 vote-cast", "send vote 2", "kick", "apply"]);
});

test("tasks of one turn share a commit, in order", async () => {
  const { log, loop } = bench();
  await Promise.all(["a", "b", "c"].map((key) => loop.run((batch) => batch.write(meta(key)))));
  assert.deepEqual(log, ["commit a,b,c"]);
});

test("a task that throws leaves nothing behind and does not disturb its neighbours", async () => {
  const { log, loop } = bench();
  const memory = new Map([["k", 1]]);
  const failing = loop.run((batch) => {
    batch.put(memory, "k", 2);
    batch.put(memory, "new", 2);
    batch.remove(memory, "k");
    batch.write(meta("never"));
    batch.send([peer], message);
    throw new CairnError("wrong-state", "refused");
  });
  const fine = loop.run((batch) => batch.write(meta("b")));
  await assert.rejects(failing, (e) => isCairnError(e, "wrong-state"));
  await fine;
  assert.deepEqual([...memory], [["k", 1]]);
  assert.deepEqual(log, ["commit b"]);
});

test("a failed commit undoes memory, sends nothing, and the audit log goes on without a gap", async () => {
  let full = true;
  const { log, loop } = bench(async () => {
    if (full) throw new CairnError("storage-full", "no space");
  });
  const memory = new Map<string, number>();
  await assert.rejects(
    loop.run((batch) => {
      batch.put(memory, "k", 1);
      batch.audit("vote-cast", "x");
      batch.send([peer], message);
    }),
    (e) => isCairnError(e, "storage-full"),
  );
  assert.equal(memory.size, 0);
  full = false;
  await loop.run((batch) => batch.audit("vote-cast", "x"));
  assert.deepEqual(log, ["commit audit 0 vote-cast"]);
});

test("a write that the store refuses fails its own task only", async () => {
  const { log, loop } = bench(async (writes) => {
    if (writes.some((write) => "key" in write && write.key === "bad"))
      throw new CairnError("wrong-state", "bad");
  });
  const memory = new Map<string, number>();
  const [a, bad, c] = await Promise.allSettled(
    ["a", "bad", "c"].map((key, at) =>
      loop.run((batch) => {
        batch.put(memory, key, at);
        batch.write(meta(key));
      }),
    ),
  );
  assert.equal(a?.status, "fulfilled");
  assert.equal(bad?.status, "rejected");
  assert.equal(c?.status, "fulfilled");
  assert.deepEqual([...memory.keys()], ["a", "c"]);
  assert.deepEqual(log, ["commit a", "commit c"]);
});

test("a closed loop refuses tasks and finishes those under way", async () => {
  const { log, loop } = bench();
  const running = loop.run((batch) => batch.write(meta("a")));
  await loop.close(new CairnError("closed", "the node is stopping"));
  await running;
  await assert.rejects(
    loop.run(() => 1),
    (e) => isCairnError(e, "closed"),
  );
  assert.deepEqual(log, ["commit a"]);
});

test("what fails after the commit is reported, and neither its siblings nor later tasks are lost", async () => {
  const { log, reported, loop } = bench();
  const fault = new Error("broken listener");
  const first = loop.run((batch) => {
    batch.write(meta("a"));
    batch.afterwards(() => {
      throw fault;
    });
    batch.afterwards(() => log.push("apply a"));
    return 1;
  });
  const second = loop.run((batch) => batch.afterwards(() => log.push("apply b")));
  assert.equal(await first, 1);
  await second;
  await loop.run((batch) => batch.write(meta("c")));
  assert.deepEqual(log, ["commit a", "apply a", "apply b", "commit c"]);
  assert.deepEqual(reported, [fault]);
});

test("of a spend's row that changes several times before a commit, the last is written, once", async () => {
  const written: StoreWrite[] = [];
  const { loop } = bench(async (writes) => void written.push(...writes));
  const row = (intent: string, state: string) =>
    ({ write: "transaction", row: { intent, state } }) as unknown as StoreWrite;
  await Promise.all([
    loop.run((batch) => {
      batch.write(row("a", "pending"));
      batch.write(row("b", "voting"));
      batch.write(row("a", "voting"));
    }),
    loop.run((batch) => batch.write(row("a", "approved"))),
  ]);
  assert.deepEqual(written, [row("b", "voting"), row("a", "approved")]);
});
