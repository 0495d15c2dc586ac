import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { isCairnError, systemClock, systemRandom } from "@cairn/core";
import { Etcd3 } from "etcd3";
import { type EtcdOptions, openEtcdCoordination } from "../src/etcd/etcd-coordination.ts";
import type { Coordination, CoordinationChange } from "../src/index.ts";
import { EtcdCluster } from "../test-support/index.ts";
import { coordinationContract } from "./coordination-contract.ts";
import { LoopbackCertificates } from "./loopback-certificates.ts";

let etcd: EtcdCluster;
let prefixes = 0;
before(async () => {
  etcd = await EtcdCluster.start(3);
});
after(async () => {
  await etcd.remove();
});

interface Members {
  readonly prefix: string;
  join(change?: Partial<EtcdOptions>): Coordination;
  close(): Promise<void>;
}

function members(): Members {
  prefixes += 1;
  const prefix = `/test/${prefixes}`;
  const open: Coordination[] = [];
  return {
    prefix,
    join(change = {}) {
      const options: EtcdOptions = {
        endpoints: etcd.endpoints,
        prefix,
        timeoutMs: 2_000,
        termMs: 2_000,
        tls: null,
        user: null,
        ...change,
      };
      const store = openEtcdCoordination(options, {
        clock: systemClock,
        random: systemRandom,
        report: () => {},
      });
      open.push(store);
      return store;
    },
    close: async () => {
      await Promise.all(open.map((store) => store.close()));
    },
  };
}

coordinationContract("etcd", async () => {
  const own = members();
  return {
    join: async () => own.join(),
    // Leases end a little after their time.
    pass: async (ms) => {
      await sleep(ms + 300);
    },
    remove: () => own.close(),
  };
});

async function eventually(check: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await check())) await sleep(50);
}

async function sturdy<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    try {
      return await ask();
    } catch (cause) {
      assert.ok(isCairnError(cause, "timeout") || isCairnError(cause, "peer-unreachable"), String(cause));
      await sleep(50);
    }
  }
}

test("with any one member killed all goes on, and a watch misses nothing and repeats nothing", {
  timeout: 60_000,
}, async () => {
  const own = members();
  try {
    const writer = own.join();
    const seen: string[] = [];
    const note = (change: CoordinationChange) => {
      seen.push(change.change === "put" ? change.entry.value : `-${change.key}`);
    };
    await own.join().watch("/n/", note);
    let next = 0;
    for (const victim of [0, 1, 2]) {
      await etcd.kill(victim);
      for (let i = 0; i < 20; i += 1) {
        next += 1;
        await sturdy(() => writer.put(`/n/${next % 3}`, String(next)));
      }
      await etcd.run(victim);
    }
    await eventually(() => seen.at(-1) === String(next));
    // A retried put may be told twice, each time with a higher revision; the order stays.
    const order = seen.map(Number);
    assert.deepEqual(
      order,
      order.toSorted((a, b) => a - b),
    );
    assert.deepEqual([...new Set(order)].slice(-3), [next - 2, next - 1, next]);
  } finally {
    await own.close();
  }
});

test("of many swaps over a failing member one takes place a revision, and its owner knows", {
  timeout: 60_000,
}, async () => {
  const own = members();
  try {
    const stores = [own.join({ timeoutMs: 500 }), own.join({ timeoutMs: 500 })];
    const reader = own.join();
    for (const victim of [0, 1]) {
      const before = (await reader.get("/cell"))?.revision ?? 0;
      const swaps = Promise.allSettled(
        Array.from({ length: 20 }, (_, at) =>
          (stores[at % 2] ?? reader).compareAndSwap("/cell", before, `${victim}-${at}`),
        ),
      );
      etcd.freeze(victim);
      const outcomes = await swaps;
      etcd.thaw(victim);
      const winners = outcomes.flatMap((outcome, at) =>
        outcome.status === "fulfilled" && outcome.value ? [`${victim}-${at}`] : [],
      );
      const now = await sturdy(() => reader.get("/cell"));
      assert.ok(winners.length <= 1, winners.join());
      if (winners.length === 1) assert.equal(now?.value, winners[0]);
      else assert.ok(outcomes.some(({ status }) => status === "rejected"));
    }
  } finally {
    etcd.thaw(0);
    etcd.thaw(1);
    await own.close();
  }
});

test("a leader whose etcd is cut off knows that its term ended before the next one begins", {
  timeout: 60_000,
}, async () => {
  const own = members();
  const only = etcd.endpoints.slice(0, 1);
  const cut = own.join({ endpoints: only });
  const healthy = own.join({ endpoints: etcd.endpoints.slice(1) });
  try {
    const first = await cut.campaign("coordinator");
    let endedAt = 0;
    first.lost.addEventListener("abort", () => {
      endedAt = performance.now();
    });
    const followed = healthy.campaign("coordinator").then((term) => ({ term, at: performance.now() }));
    etcd.freeze(0);
    const second = await followed;
    assert.ok(endedAt > 0 && endedAt <= second.at, `ended at ${endedAt}, next began at ${second.at}`);
    assert.ok(second.term.fence > first.fence);
  } finally {
    etcd.thaw(0);
    await own.close();
  }
});

test("without a majority everything fails with words that say so, and works again afterwards", {
  timeout: 60_000,
}, async () => {
  const own = members();
  try {
    const store = own.join({ timeoutMs: 500 });
    await store.put("/x", "before");
    await etcd.kill(0);
    await etcd.kill(1);
    await assert.rejects(store.put("/x", "lost"), (error) => {
      assert.ok(isCairnError(error, "timeout") || isCairnError(error, "peer-unreachable"), String(error));
      assert.match(error.message, /member/);
      return true;
    });
    await assert.rejects(store.campaign("coordinator"), (error) => isCairnError(error));
    await Promise.all([etcd.run(0), etcd.run(1)]);
    await sturdy(() => store.put("/x", "after"));
    assert.equal((await sturdy(() => store.get("/x")))?.value, "after");
  } finally {
    await own.close();
  }
});

test("clusters with prefixes of their own share an etcd unseen by each other, whatever else lies in it", async () => {
  const [one, other] = [members(), members()];
  try {
    await one.join().put("/bans/1", "x");
    const store = other.join();
    assert.deepEqual(await store.list("/"), []);
    assert.equal(await store.get("/bans/1"), null);
    // An entry that somebody else wrote beside: bytes that are no text.
    await one.join({ prefix: other.prefix }).put("/bans/7", "\u0000\uffff");
    assert.equal((await store.get("/bans/7"))?.value, "\u0000\uffff");
  } finally {
    await one.close();
    await other.close();
  }
});

test("over TLS and with users: only who shows a certificate, knows the password and has the right is served", {
  timeout: 60_000,
}, async () => {
  const certificates = await LoopbackCertificates.create();
  await certificates.issue("client");
  const server = await EtcdCluster.start(1, {
    scheme: "https",
    flags: async (host) => {
      await certificates.issue("server", host);
      return [
        ...["--cert-file", certificates.path("server.pem"), "--key-file", certificates.path("server.key")],
        ...["--client-cert-auth", "--trusted-ca-file", certificates.path("ca.pem")],
      ];
    },
  });
  const own = members();
  try {
    const authority = await certificates.read("ca.pem");
    const client = {
      certificate: await certificates.read("client.pem"),
      key: await certificates.read("client.key"),
    };
    const admin = new Etcd3({
      hosts: server.endpoints,
      credentials: {
        rootCertificate: Buffer.from(authority),
        certChain: Buffer.from(client.certificate),
        privateKey: Buffer.from(client.key),
      },
    });
    const range = admin.range({ prefix: own.prefix });
    const cairn = await admin.role("cairn").create();
    await cairn.grant({ permission: "Readwrite", range });
    await (await admin.user("cairn").create("open-sesame")).addRole("cairn");
    await (await admin.user("stranger").create("open-sesame")).addRole(await admin.role("nothing").create());
    await (await admin.user("root").create("root")).addRole(await admin.role("root").create());
    await admin.auth.authEnable();
    admin.close();

    const secure = { endpoints: server.endpoints, timeoutMs: 5_000 };
    const tls = { authority, client };
    const user = { name: "cairn", password: "open-sesame" };
    const store = own.join({ ...secure, tls, user });
    await store.put("/bans/1", "x");
    assert.equal(await store.compareAndSwap("/tx/1/state", 0, "voting", { ttlMs: 60_000 }), true);
    assert.equal((await store.campaign("coordinator")).lost.aborted, false);

    const refused = async (change: Partial<EtcdOptions>, code: "forbidden" | "peer-unreachable") => {
      const other = own.join({ ...secure, tls, user, ...change });
      await assert.rejects(other.put("/bans/1", "y"), (error) => {
        assert.ok(isCairnError(error, code), String(error));
        assert.doesNotMatch(inspect(error, { depth: 9 }), /open-sesame|wrong-password/);
        return true;
      });
    };
    await refused({ user: { name: "cairn", password: "wrong-password" } }, "forbidden");
    await refused({ user: { name: "stranger", password: "open-sesame" } }, "forbidden");
    await refused({ user: null }, "forbidden");
    await refused({ tls: { authority, client: null } }, "peer-unreachable");
    const foreign = await LoopbackCertificates.create();
    await refused({ tls: { authority: await foreign.read("ca.pem"), client } }, "peer-unreachable");
    await foreign.remove();
  } finally {
    await own.close();
    await server.remove();
    await certificates.remove();
  }
});
