import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import {
  type AnchorRow,
  type CheckpointRow,
  type ErrorCode,
  isCairnError,
  type NodeStore,
  type StoreWrite,
  type TransactionMark,
} from "@cairn/core";
import fc from "fast-check";
import {
  approvalRow,
  at,
  auditRow,
  bytes,
  changeRow,
  changeVoteRow,
  executionOf,
  hash,
  intentOf,
  keyOf,
  lineageOf,
  manifestRow,
  node,
  presignatureOf,
  presignatureRow,
  requestOf,
  sats,
  sessionOf,
  sessionRow,
  transactionRow,
  txidOf,
  voteRow,
  walletOf,
} from "./rows.ts";

/** A place where one store at a time can be, over several lives. */
export interface StorePlace {
  open(): Promise<NodeStore>;
  remove(): Promise<void>;
}

/** What every {@link NodeStore} must do. */
export function nodeStoreContract(name: string, createPlace: () => Promise<StorePlace>): void {
  async function withStore(
    run: (store: NodeStore, reopen: () => Promise<NodeStore>) => Promise<void>,
  ): Promise<void> {
    const place = await createPlace();
    let store = await place.open();
    try {
      await run(store, async () => {
        await store.close();
        store = await place.open();
        return store;
      });
    } finally {
      await store.close();
      await place.remove();
    }
  }

  const refused = (promise: Promise<unknown>, code: ErrorCode): Promise<void> =>
    assert.rejects(promise, (error) => isCairnError(error, code));

  describe(`${name} as a node store`, () => {
    test("every kind of row comes back as it was written, also after the store is opened anew", async () => {
      await withStore(async (store, reopen) => {
        const transaction = transactionRow("full", {
          state: "confirmed",
          reason: "timeout",
          certificate: bytes("certificate"),
          signedTx: "0200",
          amountSats: sats(2_100_000_000_000_000n),
          feeSats: sats(0n),
          outpoints: [
            { txid: txidOf("a"), vout: 0 },
            { txid: txidOf("b"), vout: 0xffffffff },
          ],
          metadata: '{"label":"Zürich \u{1f3d4}"}',
          confirmedAt: at(8_640_000_000_000_000),
          confirmations: 6,
          blockHeight: 900_000,
          blockHash: hash("block"),
        });
        const round = {
          intent: intentOf("full"),
          round: 2,
          openedAt: at(1),
          deadline: at(2),
          outcome: "deferred",
        } as const;
        const vote = voteRow("full", 4, { approve: false, reason: "fee-too-high" });
        const voided = { intent: intentOf("full"), node: node(3), body: bytes("void") };
        const approval = approvalRow("full", "ann", 8_640_000_000_000_000);
        const reservation = {
          lineage: lineageOf("full"),
          wallet: walletOf("main"),
          amountSats: sats(2_100_000_000_000_000n),
          destinations: [{ address: "bcrt1qexample", amountSats: sats(2_099_999_999_999_999n) }],
          intents: [{ intent: intentOf("full"), outpoints: [{ txid: txidOf("a"), vout: 0 }], dead: true }],
          reservedAt: at(10),
          freedAt: at(20),
        };
        const key = {
          keyId: keyOf("main"),
          protocol: "cggmp24",
          purpose: "wallet",
          epoch: 3,
          status: "active",
          request: bytes("request"),
          publicPackage: bytes("public"),
          sealedShare: bytes("sealed"),
          reason: null,
          createdAt: at(1),
          updatedAt: at(2),
        } as const;
        const wallet = {
          wallet: walletOf("main"),
          keyId: keyOf("main"),
          label: "cold",
          record: bytes("record"),
          createdAt: at(3),
        };
        const presignature = presignatureRow("full", { path: [1, 0x7fffffff], state: "pending" });
        const session = sessionRow("full", {
          execution: null,
          failure: "timeout",
          state: "failed",
          endedAt: at(9),
        });
        const outgoing = {
          to: node(2),
          id: "vote/1",
          kind: "vote",
          message: bytes("message"),
          createdAt: at(7),
        };
        const violation = {
          id: hash("violation"),
          node: node(5),
          type: "DoubleVote",
          subject: intentOf("full"),
          evidence: new Uint8Array(),
          action: "banned",
          detectedAt: at(11),
        };
        const ban = {
          node: node(5),
          violation: hash("violation"),
          from: at(11),
          until: null,
          scope: "cluster",
          count: 3,
          liftedAt: null,
        } as const;
        const status = {
          node: node(5),
          lastSeen: null,
          epoch: 1,
          burnCounter: 12,
          auditLength: 99,
          auditHead: hash("head"),
          answer: bytes("answer"),
        };
        const checkpoint = { sequence: 3, hash: hash("checkpoint"), body: bytes("checkpoint") };
        const anchor = {
          intent: intentOf("a"),
          txid: txidOf("a"),
          sequence: 3,
          checkpoint: hash("checkpoint"),
          createdAt: at(12),
        };
        const idempotency = {
          scope: "requester",
          key: "k",
          request: hash("body"),
          status: 202,
          response: "{}",
          createdAt: at(12),
        };
        const token = {
          hash: hash("token"),
          name: "till",
          role: "spender",
          createdAt: at(13),
          expiresAt: at(14),
          revokedAt: null,
        } as const;
        const manifest = manifestRow("manifest", 0);
        const change = changeRow("full", {
          state: "committed",
          commit: bytes("commit"),
          effectiveAt: at(5_000),
        });
        const changeVote = changeVoteRow("full", 5);
        const audit = auditRow(0);
        await store.commit([
          { write: "meta", key: "epoch", value: Uint8Array.of(0, 255) },
          { write: "manifest", row: manifest },
          { write: "change", row: change },
          { write: "change-vote", row: changeVote },
          { write: "transaction", row: transaction },
          { write: "voting-round", row: round },
          { write: "vote", row: vote },
          { write: "void", row: voided },
          { write: "approval", row: approval },
          { write: "reservation", row: reservation },
          { write: "key", row: key },
          { write: "wallet", row: wallet },
          { write: "auxiliary", parties: hash("parties"), sealed: bytes("auxiliary") },
          { write: "presignature", row: presignature },
          { write: "session", row: session },
          { write: "outbox", row: outgoing },
          { write: "violation", row: violation },
          { write: "ban", row: ban },
          { write: "node-status", row: status },
          { write: "idempotency", row: idempotency },
          { write: "token", row: token },
          { write: "checkpoint", row: checkpoint },
          { write: "anchor", row: anchor },
          { write: "audit", row: audit },
        ]);

        const check = async (reader: NodeStore): Promise<void> => {
          assert.deepEqual(await reader.meta("epoch"), Uint8Array.of(0, 255));
          assert.equal(await reader.meta("absent"), null);
          assert.deepEqual(await reader.manifests(), [manifest]);
          assert.deepEqual(await reader.change(change.proposal), change);
          assert.deepEqual(await reader.changes({ limit: 9 }), [change]);
          assert.deepEqual(await reader.changeVotes(change.proposal), [changeVote]);
          assert.deepEqual(await reader.transaction({ intent: transaction.intent }), transaction);
          assert.deepEqual(await reader.transaction({ txid: transaction.txid }), transaction);
          assert.deepEqual(await reader.transactionOfRequest(transaction.request), transaction);
          assert.deepEqual(await reader.transactionsOfLineage(transaction.lineage), [transaction]);
          assert.deepEqual(await reader.votingRounds(round.intent), [round]);
          assert.deepEqual(await reader.votes(vote.intent), [vote]);
          assert.deepEqual(await reader.voids(voided.intent), [voided]);
          assert.deepEqual(await reader.approvals(approval.request), [approval]);
          assert.deepEqual(await reader.reservation(reservation.lineage), reservation);
          assert.deepEqual(await reader.keys(), [key]);
          assert.deepEqual(await reader.key(key.keyId), key);
          assert.deepEqual(await reader.wallets(), [wallet]);
          assert.deepEqual(await reader.auxiliary(hash("parties")), bytes("auxiliary"));
          assert.deepEqual(await reader.presignature(presignature.id), presignature);
          assert.deepEqual(await reader.session(session.session), session);
          assert.deepEqual(
            (await reader.outbox({ limit: 9 })).map(({ seq, ...row }) => row),
            [outgoing],
          );
          assert.deepEqual(await reader.violations({ limit: 9 }), [violation]);
          assert.deepEqual(await reader.bans(), [ban]);
          assert.deepEqual(await reader.nodeStatuses(), [status]);
          assert.deepEqual(await reader.idempotency("requester", "k"), idempotency);
          assert.deepEqual(await reader.tokens(), [token]);
          assert.deepEqual(await reader.checkpointHead(), checkpoint);
          assert.deepEqual(await reader.anchors({ limit: 9 }), [anchor]);
          assert.deepEqual(await reader.auditHead(), audit);
          assert.deepEqual(await reader.audit({ from: 0, limit: 9 }), [audit]);
        };
        await check(store);
        await check(await reopen());
      });
    });

    test("what is not there reads as null or nothing", async () => {
      await withStore(async (store) => {
        await store.commit([]);
        assert.equal(await store.transaction({ intent: intentOf("x") }), null);
        assert.equal(await store.transaction({ txid: txidOf("x") }), null);
        assert.equal(await store.transactionOfRequest(requestOf("x")), null);
        assert.deepEqual(await store.transactions({ states: [], limit: 5 }), []);
        assert.equal(await store.key(keyOf("x")), null);
        assert.equal(await store.auxiliary(hash("x")), null);
        assert.equal(await store.presignature(presignatureOf("x")), null);
        assert.equal(await store.session(sessionOf("x")), null);
        assert.equal(await store.idempotency("x", "y"), null);
        assert.equal(await store.checkpointHead(), null);
        assert.deepEqual(await store.checkpoints({ from: 0, limit: 5 }), []);
        assert.deepEqual(await store.anchors({ limit: 5 }), []);
        assert.equal(await store.auditHead(), null);
        assert.equal(await store.burnCounter(), 0);
        assert.deepEqual(await store.approvals(requestOf("x")), []);
        assert.deepEqual(await store.approvals(), []);
        assert.deepEqual(await store.bans(), []);
      });
    });

    test("a commit whose last write is refused leaves nothing of the others", async () => {
      await withStore(async (store) => {
        await store.commit([
          { write: "vote", row: voteRow("a", 1) },
          { write: "meta", key: "state", value: bytes("before") },
        ]);
        await refused(
          store.commit([
            { write: "meta", key: "state", value: bytes("after") },
            {
              write: "outbox",
              row: { to: node(2), id: "m", kind: "vote", message: bytes("m"), createdAt: at(1) },
            },
            { write: "audit", row: auditRow(0) },
            { write: "transaction", row: transactionRow("a") },
            { write: "presignature", row: presignatureRow("a") },
            { write: "vote", row: voteRow("a", 1, { approve: false }) },
          ]),
          "wrong-state",
        );
        assert.deepEqual(await store.meta("state"), bytes("before"));
        assert.deepEqual(await store.outbox({ limit: 9 }), []);
        assert.equal(await store.auditHead(), null);
        assert.equal(await store.transaction({ intent: intentOf("a") }), null);
        assert.equal(await store.presignature(presignatureOf("a")), null);
        assert.deepEqual(await store.votes(intentOf("a")), [voteRow("a", 1)]);
      });
    });

    test("commits that are asked for together happen in the order of the calls, each wholly or not at all", async () => {
      await withStore(async (store) => {
        await fc.assert(
          fc.asyncProperty(
            fc.array(fc.record({ key: fc.nat({ max: 3 }), bad: fc.boolean() }), {
              minLength: 1,
              maxLength: 30,
            }),
            fc.uuid(),
            async (commits, run) => {
              await store.commit([{ write: "vote", row: voteRow(run, 1) }]);
              const outcomes = await Promise.allSettled(
                commits.map(({ key, bad }, position) => {
                  const value = bytes(`${run} ${position}`);
                  const writes: StoreWrite[] = [
                    { write: "meta", key: `${key} left`, value },
                    { write: "meta", key: `${key} right`, value },
                  ];
                  if (bad) writes.push({ write: "vote", row: voteRow(run, 1) });
                  return store.commit(writes);
                }),
              );
              for (const [position, { bad }] of commits.entries()) {
                assert.equal(outcomes[position]?.status, bad ? "rejected" : "fulfilled");
              }
              for (const key of new Set(commits.map((commit) => commit.key))) {
                const last = commits.findLastIndex((commit) => commit.key === key && !commit.bad);
                if (last < 0) continue;
                assert.deepEqual(await store.meta(`${key} left`), bytes(`${run} ${last}`));
                assert.deepEqual(await store.meta(`${key} right`), bytes(`${run} ${last}`));
              }
            },
          ),
          { numRuns: 20 },
        );
      });
    });

    test("later writes of a commit see the earlier ones", async () => {
      await withStore(async (store) => {
        await store.commit([
          { write: "presignature", row: presignatureRow("a", { state: "pending" }) },
          {
            write: "presignature-state",
            id: presignatureOf("a"),
            state: "ready",
            acceptances: bytes("words"),
          },
          { write: "audit", row: auditRow(0) },
          { write: "audit", row: auditRow(1) },
        ]);
        assert.equal((await store.presignature(presignatureOf("a")))?.state, "ready");
        assert.equal((await store.auditHead())?.seq, 1);
      });
    });

    test("a voter has one vote in each round of an intent", async () => {
      await withStore(async (store) => {
        await store.commit([{ write: "vote", row: voteRow("a", 1) }]);
        await refused(store.commit([{ write: "vote", row: voteRow("a", 1) }]), "wrong-state");
        await refused(
          store.commit([{ write: "vote", row: voteRow("a", 1, { approve: false }) }]),
          "wrong-state",
        );
        await store.commit([
          { write: "vote", row: voteRow("a", 2) },
          { write: "vote", row: voteRow("a", 1, { round: 1 }) },
          { write: "vote", row: voteRow("b", 1) },
        ]);
        const votes = await store.votes(intentOf("a"));
        assert.deepEqual(
          votes.map(({ round, voter }) => [round, voter]),
          [
            [0, 1],
            [0, 2],
            [1, 1],
          ],
        );
      });
    });

    test("a manifest's sequence number is taken once; the same manifest again changes nothing", async () => {
      await withStore(async (store) => {
        const first = manifestRow("first", 0);
        await store.commit([{ write: "manifest", row: first }]);
        await store.commit([{ write: "manifest", row: first }]);
        await refused(store.commit([{ write: "manifest", row: manifestRow("other", 0) }]), "wrong-state");
        await store.commit([{ write: "manifest", row: manifestRow("second", 1) }]);
        assert.deepEqual(await store.manifests(), [first, manifestRow("second", 1)]);
      });
    });

    test("a change is replaced by its proposal and keeps its first sight; lists are newest first, by state", async () => {
      await withStore(async (store, reopen) => {
        const older = changeRow("older");
        const newer = changeRow("newer", { createdAt: at(1_500), state: "expired" });
        await store.commit([older, newer].map((row): StoreWrite => ({ write: "change", row })));
        const committed = changeRow("older", {
          state: "committed",
          commit: bytes("commit"),
          effectiveAt: at(9_000),
          updatedAt: at(1_700),
        });
        await store.commit([{ write: "change", row: { ...committed, firstSeenAt: at(1) } }]);
        const later = await reopen();
        assert.deepEqual(await later.changes({ limit: 9 }), [newer, committed]);
        assert.deepEqual(await later.changes({ limit: 1 }), [newer]);
        assert.deepEqual(await later.changes({ states: ["committed", "open"], limit: 9 }), [committed]);
        assert.deepEqual(await later.changes({ states: [], limit: 9 }), []);
        assert.equal(await later.change(hash("change none")), null);
      });
    });

    test("a node has one word on each proposal", async () => {
      await withStore(async (store) => {
        await store.commit(
          [2, 1].map((from): StoreWrite => ({ write: "change-vote", row: changeVoteRow("a", from) })),
        );
        const again = { ...changeVoteRow("a", 1), body: bytes("another word") };
        await refused(store.commit([{ write: "change-vote", row: again }]), "wrong-state");
        await store.commit([{ write: "change-vote", row: changeVoteRow("b", 1) }]);
        assert.deepEqual(await store.changeVotes(changeRow("a").proposal), [
          changeVoteRow("a", 1),
          changeVoteRow("a", 2),
        ]);
      });
    });

    test("a ready presignature burns once, with a counter that rises by one", async () => {
      await withStore(async (store, reopen) => {
        await store.commit(
          ["a", "b", "c"].map((name): StoreWrite => ({ write: "presignature", row: presignatureRow(name) })),
        );
        assert.equal(await store.burn(presignatureOf("b"), sessionOf("s"), at(9)), 1);
        assert.deepEqual(
          await store.presignature(presignatureOf("b")),
          presignatureRow("b", { state: "burned", usedBy: sessionOf("s"), burnCounter: 1, burnedAt: at(9) }),
        );
        await refused(store.burn(presignatureOf("b"), sessionOf("s"), at(9)), "presignature-used");
        await refused(store.burn(presignatureOf("none"), sessionOf("s"), at(9)), "not-found");
        assert.equal(await store.burn(presignatureOf("a"), sessionOf("s"), at(9)), 2);
        assert.equal(await store.burnCounter(), 2);

        const later = await reopen();
        assert.equal(await later.burnCounter(), 2);
        await refused(later.burn(presignatureOf("b"), sessionOf("t"), at(10)), "presignature-used");
        assert.equal(await later.burn(presignatureOf("c"), sessionOf("t"), at(10)), 3);
      });
    });

    test("of many burns of one presignature at once, one succeeds", async () => {
      await withStore(async (store) => {
        const names = Array.from({ length: 8 }, (_, i) => `item ${i}`);
        await store.commit(
          names.map((name): StoreWrite => ({ write: "presignature", row: presignatureRow(name) })),
        );
        const burns = await Promise.allSettled(
          names.flatMap((name) =>
            Array.from({ length: 8 }, (_, i) => store.burn(presignatureOf(name), sessionOf(`${i}`), at(9))),
          ),
        );
        const counters = burns.flatMap((burn) => (burn.status === "fulfilled" ? [burn.value] : []));
        assert.deepEqual(counters, [1, 2, 3, 4, 5, 6, 7, 8]);
        for (const burn of burns) {
          if (burn.status === "rejected") assert.ok(isCairnError(burn.reason, "presignature-used"));
        }
      });
    });

    test("a presignature moves from pending to ready to burned or discarded, and never back", async () => {
      await withStore(async (store) => {
        const state = (name: string, to: "ready" | "discarded"): Promise<void> =>
          store.commit([
            to === "ready"
              ? {
                  write: "presignature-state",
                  id: presignatureOf(name),
                  state: to,
                  acceptances: bytes(`words ${name}`),
                }
              : { write: "presignature-state", id: presignatureOf(name), state: to },
          ]);
        await store.commit([
          { write: "presignature", row: presignatureRow("a", { state: "pending" }) },
          { write: "presignature", row: presignatureRow("b", { state: "pending" }) },
          { write: "presignature", row: presignatureRow("c") },
        ]);
        await refused(store.burn(presignatureOf("a"), sessionOf("s"), at(9)), "wrong-state");
        await state("a", "ready");
        await refused(state("a", "ready"), "wrong-state");
        await store.burn(presignatureOf("a"), sessionOf("s"), at(9));
        const burned = await store.presignature(presignatureOf("a"));
        assert.deepEqual(burned?.acceptances, bytes("words a"), "the signers' words outlive the burn");
        await refused(state("a", "ready"), "presignature-used");
        await refused(state("a", "discarded"), "presignature-used");
        await state("b", "discarded");
        await refused(state("b", "ready"), "wrong-state");
        await refused(state("none", "ready"), "wrong-state");
        await state("c", "discarded");
        await refused(store.burn(presignatureOf("c"), sessionOf("s"), at(9)), "presignature-used");
        for (const name of ["a", "b", "c"]) {
          await refused(store.commit([{ write: "presignature", row: presignatureRow(name) }]), "wrong-state");
        }
        for (const made of ["burned", "discarded"] as const) {
          await refused(
            store.commit([{ write: "presignature", row: presignatureRow("d", { state: made }) }]),
            "wrong-state",
          );
        }
        assert.equal(await store.burnCounter(), 1);
      });
    });

    test("the secret half goes at once when an item is discarded, and at the next start when it was burned", async () => {
      await withStore(async (store, reopen) => {
        await store.commit([
          { write: "presignature", row: presignatureRow("burned") },
          { write: "presignature", row: presignatureRow("discarded") },
          { write: "presignature", row: presignatureRow("kept") },
        ]);
        await store.burn(presignatureOf("burned"), sessionOf("s"), at(9));
        await store.commit([
          { write: "presignature-state", id: presignatureOf("discarded"), state: "discarded" },
        ]);
        const sealed = async (reader: NodeStore, name: string): Promise<Uint8Array | undefined> =>
          (await reader.presignature(presignatureOf(name)))?.sealed;
        assert.deepEqual(await sealed(store, "burned"), bytes("sealed burned"));
        assert.deepEqual(await sealed(store, "discarded"), new Uint8Array());
        const later = await reopen();
        assert.deepEqual(await sealed(later, "burned"), new Uint8Array());
        assert.deepEqual(await sealed(later, "kept"), bytes("sealed kept"));
      });
    });

    test("presignatures are found by key, path and state", async () => {
      await withStore(async (store) => {
        await store.commit([
          { write: "presignature", row: presignatureRow("a", { createdAt: at(2) }) },
          { write: "presignature", row: presignatureRow("b", { createdAt: at(1), path: [1, 7] }) },
          { write: "presignature", row: presignatureRow("c", { createdAt: at(3), state: "pending" }) },
          { write: "presignature", row: presignatureRow("d", { createdAt: at(4), keyId: keyOf("other") }) },
        ]);
        const found = async (query: Parameters<NodeStore["presignatures"]>[0]): Promise<string[]> =>
          (await store.presignatures(query)).map((row) => Buffer.from(row.sealed).toString().slice(-1));
        assert.deepEqual(await found({}), ["b", "a", "c", "d"]);
        assert.deepEqual(await found({ keyId: keyOf("main") }), ["b", "a", "c"]);
        assert.deepEqual(await found({ keyId: keyOf("main"), path: [0, 7] }), ["a", "c"]);
        assert.deepEqual(await found({ keyId: keyOf("main"), path: [0, 7], state: "ready" }), ["a"]);
        assert.deepEqual(await found({ state: "pending" }), ["c"]);
      });
    });

    test("transactions list newest first, page by page without gap or repeat, and filter by wallet and state", async () => {
      await withStore(async (store) => {
        const rows = Array.from({ length: 23 }, (_, i) =>
          transactionRow(`t${i}`, {
            // Several share a millisecond: the intent hash orders those.
            createdAt: at(1_000 + Math.floor(i / 4)),
            state: i % 3 === 0 ? "confirmed" : i % 3 === 1 ? "voting" : "rejected",
            wallet: walletOf(i % 2 === 0 ? "even" : "odd"),
          }),
        );
        await store.commit(rows.map((row): StoreWrite => ({ write: "transaction", row })));
        const expected = rows.toSorted((a, b) => b.createdAt - a.createdAt || (a.intent < b.intent ? 1 : -1));
        for (const query of [
          {},
          { wallet: walletOf("even") },
          { states: ["voting", "confirmed"] as const },
          { wallet: walletOf("odd"), states: ["rejected"] as const },
        ]) {
          const listed: string[] = [];
          let page = await store.transactions({ ...query, limit: 4 });
          while (page.length > 0) {
            assert.ok(page.length <= 4);
            listed.push(...page.map((row) => row.intent));
            const last = page.at(-1);
            assert.ok(last);
            page = await store.transactions({ ...query, before: last, limit: 4 });
          }
          const { wallet, states } = { wallet: undefined, states: undefined, ...query };
          assert.deepEqual(
            listed,
            expected
              .filter((row) => wallet === undefined || row.wallet === wallet)
              .filter((row) => states === undefined || states.some((state) => state === row.state))
              .map((row) => row.intent),
          );
        }
      });
    });

    test("marks of transactions come in the order of their last changes, page by page without gap or repeat", async () => {
      await withStore(async (store) => {
        const rows = Array.from({ length: 11 }, (_, i) =>
          transactionRow(`t${i}`, {
            createdAt: at(5_000 - i),
            // Several share a millisecond: the intent hash orders those.
            updatedAt: at(1_000 + Math.floor(i / 3)),
            certificate: i % 2 === 0 ? Uint8Array.of(1) : null,
            signedTx: i % 4 === 0 ? "00" : null,
          }),
        );
        const [first] = rows;
        assert.ok(first);
        await store.commit(rows.map((row): StoreWrite => ({ write: "transaction", row })));
        // What changes again moves to the end.
        const changed = { ...first, updatedAt: at(2_000), certificate: null, signedTx: null };
        await store.commit([{ write: "transaction", row: changed }]);
        const expected = [...rows.slice(1), changed]
          .toSorted((a, b) => a.updatedAt - b.updatedAt || (a.intent < b.intent ? -1 : 1))
          .map(({ intent, updatedAt, certificate, signedTx }) => ({
            intent,
            updatedAt,
            certified: certificate !== null,
            signed: signedTx !== null,
          }));
        const listed: TransactionMark[] = [];
        let page = await store.transactionMarks({ after: null, limit: 4 });
        while (page.length > 0) {
          assert.ok(page.length <= 4);
          listed.push(...page);
          page = await store.transactionMarks({ after: page.at(-1) ?? null, limit: 4 });
        }
        assert.deepEqual(listed, expected);
      });
    });

    test("lists of transactions, sessions, presignatures and audit entries filter by time and kind, and page newest first", async () => {
      await withStore(async (store) => {
        const numbers = [1, 2, 3, 4, 5];
        await store.commit([
          ...numbers.flatMap((i): StoreWrite[] => [
            { write: "transaction", row: transactionRow(`t${i}`, { createdAt: at(i) }) },
            {
              write: "session",
              row: sessionRow(`s${i}`, { startedAt: at(i), purpose: i % 2 === 0 ? "sign" : "presign" }),
            },
            {
              write: "presignature",
              row: presignatureRow(`p${i}`, { createdAt: at(i), state: i === 2 ? "pending" : "ready" }),
            },
          ]),
          ...[0, 1, 2].map(
            (seq): StoreWrite => ({
              write: "audit",
              row: { ...auditRow(seq), kind: seq === 1 ? "ban" : "vote-cast" },
            }),
          ),
        ]);
        const spends = await store.transactions({ since: at(2), until: at(5), limit: 9 });
        assert.deepEqual(
          spends.map(({ createdAt }) => createdAt),
          [4, 3, 2],
        );
        const sessions = async (query: Parameters<NodeStore["sessions"]>[0]): Promise<number[]> =>
          (await store.sessions(query)).map(({ startedAt }) => startedAt);
        assert.deepEqual(await sessions({ since: at(2), until: at(5) }), [4, 3, 2]);
        assert.deepEqual(await sessions({ purpose: "presign" }), [5, 3, 1]);
        const before = { startedAt: at(3), session: sessionOf("s3") };
        assert.deepEqual(await sessions({ before, limit: 1 }), [2]);
        const stock = async (query: Parameters<NodeStore["presignatures"]>[0]): Promise<number[]> =>
          (await store.presignatures(query)).map(({ createdAt }) => createdAt);
        assert.deepEqual(await stock({ newest: { limit: 2 } }), [5, 4]);
        const older = { createdAt: at(4), id: presignatureOf("p4") };
        assert.deepEqual(await stock({ state: "ready", newest: { limit: 9, before: older } }), [3, 1]);
        const entries = await store.audit({ from: 0, limit: 9, kind: "ban" });
        assert.deepEqual(
          entries.map(({ seq }) => seq),
          [1],
        );
      });
    });

    test("idempotency rows made before a time are deleted, and no others", async () => {
      await withStore(async (store, reopen) => {
        const row = (key: string, createdAt: number): StoreWrite => ({
          write: "idempotency",
          row: { scope: "a", key, request: hash("r"), status: 202, response: "{}", createdAt: at(createdAt) },
        });
        await store.commit([row("old", 9), row("edge", 10), row("new", 11)]);
        await store.commit([{ write: "idempotency-expiry", before: at(10) }]);
        const later = await reopen();
        assert.equal(await later.idempotency("a", "old"), null);
        assert.equal((await later.idempotency("a", "edge"))?.key, "edge");
        assert.equal((await later.idempotency("a", "new"))?.key, "new");
      });
    });

    test("one approval of an approver for a request is kept, until it expires", async () => {
      await withStore(async (store, reopen) => {
        const write = (row: ReturnType<typeof approvalRow>): StoreWrite => ({ write: "approval", row });
        const ann = approvalRow("a", "ann", 10);
        const bob = approvalRow("a", "bob", 11);
        const other = approvalRow("b", "ann", 9);
        await store.commit([write(approvalRow("a", "ann", 5)), write(bob), write(other)]);
        await store.commit([write(ann)]);
        const ascending = [ann, bob].toSorted((x, y) => (x.approver < y.approver ? -1 : 1));
        assert.deepEqual(await store.approvals(requestOf("a")), ascending);
        const all = [...ascending, other].toSorted((x, y) =>
          x.request === y.request ? 0 : x.request < y.request ? -1 : 1,
        );
        assert.deepEqual(await store.approvals(), all);
        await store.commit([{ write: "approval-expiry", at: at(10) }]);
        const later = await reopen();
        assert.deepEqual(await later.approvals(), [bob]);
      });
    });

    test("a transaction is replaced by its intent; of those with one request, txid or lineage, the first seen leads", async () => {
      await withStore(async (store) => {
        const first = transactionRow("first", { firstSeenAt: at(5), createdAt: at(9) });
        const second = transactionRow("second", {
          txid: first.txid,
          request: first.request,
          lineage: first.lineage,
          firstSeenAt: at(6),
          createdAt: at(1),
        });
        await store.commit([
          { write: "transaction", row: second },
          { write: "transaction", row: first },
        ]);
        const changed = { ...first, state: "signed", signedTx: "0200", updatedAt: at(7) } as const;
        await store.commit([{ write: "transaction", row: changed }]);
        assert.deepEqual(await store.transaction({ intent: first.intent }), changed);
        assert.deepEqual(await store.transaction({ txid: first.txid }), changed);
        assert.deepEqual(await store.transactionOfRequest(first.request), changed);
        assert.deepEqual(await store.transactionsOfLineage(first.lineage), [changed, second]);
      });
    });

    test("of several intents around one payment the signed one stands for it, whenever it was seen", async () => {
      await withStore(async (store) => {
        const first = transactionRow("first", { firstSeenAt: at(5), state: "failed", signedTx: null });
        const paid = transactionRow("paid", {
          txid: first.txid,
          request: first.request,
          firstSeenAt: at(6),
          state: "confirmed",
          signedTx: "0200",
        });
        await store.commit([
          { write: "transaction", row: first },
          { write: "transaction", row: paid },
        ]);
        assert.deepEqual(await store.transaction({ txid: first.txid }), paid);
        assert.deepEqual(await store.transactionOfRequest(first.request), paid);
      });
    });

    test("a reservation is one a lineage: it grows, is open until it is freed, and can be looked up for good", async () => {
      await withStore(async (store) => {
        const held = {
          lineage: lineageOf("a"),
          wallet: walletOf("main"),
          amountSats: sats(70_000n),
          destinations: [{ address: "x", amountSats: sats(60_000n) }],
          intents: [{ intent: intentOf("a"), outpoints: [{ txid: txidOf("c"), vout: 0 }], dead: false }],
          reservedAt: at(10),
          freedAt: null,
        };
        const grown = {
          ...held,
          amountSats: sats(80_000n),
          intents: [...held.intents, { intent: intentOf("b"), outpoints: [], dead: false }],
        };
        await store.commit([{ write: "reservation", row: held }]);
        await store.commit([
          { write: "reservation", row: grown },
          { write: "reservation", row: { ...held, lineage: lineageOf("b"), reservedAt: at(5) } },
        ]);
        const open = async () => (await store.openReservations()).map((row) => row.lineage);
        const ended = async (query: Parameters<NodeStore["endedReservations"]>[0]) =>
          (await store.endedReservations(query)).map((row) => row.lineage);
        assert.deepEqual(await open(), [lineageOf("b"), lineageOf("a")]);
        assert.deepEqual(await store.reservation(lineageOf("a")), grown);
        assert.equal(await store.reservation(lineageOf("c")), null);
        const freed = { ...grown, freedAt: at(50) };
        await store.commit([
          { write: "reservation", row: freed },
          { write: "reservation", row: { ...freed, lineage: lineageOf("c") } },
        ]);
        assert.deepEqual(await open(), [lineageOf("b")]);
        const [first, second] = [lineageOf("a"), lineageOf("c")].toSorted();
        assert.ok(first !== undefined && second !== undefined);
        assert.deepEqual(await ended({ since: at(9), limit: 9 }), [first, second]);
        assert.deepEqual(await ended({ since: at(10), limit: 9 }), []);
        assert.deepEqual(await ended({ since: at(9), limit: 1 }), [first]);
        const after = { reservedAt: at(10), lineage: first };
        assert.deepEqual(await ended({ since: at(9), after, limit: 9 }), [second]);
      });
    });

    test("an execution belongs to one session, for good", async () => {
      await withStore(async (store, reopen) => {
        const first = { ...sessionRow("a"), execution: executionOf("x"), endedAt: at(3) };
        await store.commit([{ write: "session", row: first }]);
        await store.commit([{ write: "session", row: { ...first, state: "done" } }]);
        const again = await reopen();
        const second = { ...sessionRow("b"), execution: executionOf("x") };
        await assert.rejects(again.commit([{ write: "session", row: second }]), { code: "replayed" });
        assert.equal(await again.session(second.session), null);
        await again.commit([{ write: "session", row: { ...second, execution: executionOf("y") } }]);
      });
    });

    test("the outbox keeps each peer's order, takes an id once while it waits, and never gives a number twice", async () => {
      await withStore(async (store, reopen) => {
        const post = (to: number, id: string, text = id): StoreWrite => ({
          write: "outbox",
          row: { to: node(to), id, kind: "vote", message: bytes(text), createdAt: at(1) },
        });
        const waiting = async (reader: NodeStore, to?: number): Promise<string[]> =>
          (await reader.outbox(to === undefined ? { limit: 99 } : { to: node(to), limit: 99 })).map(
            (row) => `${row.to} ${row.id} ${Buffer.from(row.message).toString()}`,
          );
        await store.commit([post(2, "a"), post(3, "a"), post(2, "b")]);
        await store.commit([post(2, "a", "another"), post(2, "c")]);
        assert.deepEqual(await waiting(store), ["2 a a", "3 a a", "2 b b", "2 c c"]);
        assert.deepEqual(await waiting(store, 2), ["2 a a", "2 b b", "2 c c"]);
        const [, second, third] = await store.outbox({ to: node(2), limit: 99 });
        assert.ok(second && third);
        assert.deepEqual(await store.outbox({ to: node(2), after: second.seq, limit: 9 }), [third]);
        assert.equal((await store.outbox({ to: node(2), limit: 2 })).length, 2);

        await store.commit([
          { write: "outbox-done", to: node(2), id: "c" },
          { write: "outbox-done", to: node(2), id: "never there" },
        ]);
        const later = await reopen();
        await later.commit([post(2, "c", "again")]);
        assert.deepEqual(await waiting(later, 2), ["2 a a", "2 b b", "2 c again"]);
        const again = (await later.outbox({ to: node(2), limit: 99 }))[2];
        assert.ok(again && again.seq > third.seq);
      });
    });

    test("checkpoints are kept one a sequence number, the newest at the head, and read in pages", async () => {
      await withStore(async (store) => {
        const row = (sequence: number, body = `checkpoint ${sequence}`) => ({
          sequence,
          hash: hash(body),
          body: bytes(body),
        });
        const write = (it: CheckpointRow) => store.commit([{ write: "checkpoint", row: it }]);
        for (const sequence of [2, 0, 10, 9]) await write(row(sequence));
        assert.deepEqual(await store.checkpointHead(), row(10));
        assert.deepEqual(await store.checkpoints({ from: 1, limit: 2 }), [row(2), row(9)]);
        await write(row(10, "the other one"));
        assert.deepEqual(await store.checkpointHead(), row(10, "the other one"));
        assert.equal((await store.checkpoints({ from: 0, limit: 9 })).length, 4);
      });
    });

    test("anchors are kept one an intent, and read in the order of their checkpoints, from one on and from a time on", async () => {
      await withStore(async (store) => {
        const row = (name: string, sequence: number, createdAt: number): AnchorRow => ({
          intent: intentOf(name),
          txid: txidOf(name),
          sequence,
          checkpoint: hash(`checkpoint ${sequence}`),
          createdAt: at(createdAt),
        });
        const [ten, early, late, two] = [row("a", 10, 5), row("b", 9, 6), row("c", 9, 7), row("d", 2, 8)];
        await store.commit([ten, late, early, two].map((it) => ({ write: "anchor", row: it })));
        assert.deepEqual(await store.anchors({ limit: 9 }), [two, early, late, ten]);
        assert.deepEqual(await store.anchors({ from: 9, limit: 2 }), [early, late]);
        assert.deepEqual(await store.anchors({ since: at(7), limit: 9 }), [two, late]);
        assert.deepEqual(await store.anchors({ from: 9, since: at(7), limit: 9 }), [late]);
        await store.commit([{ write: "anchor", row: { ...two, sequence: 11 } }]);
        assert.deepEqual((await store.anchors({ limit: 9 })).at(-1), { ...two, sequence: 11 });
      });
    });

    test("an audit entry that leaves a gap, repeats a number or names another predecessor is refused", async () => {
      await withStore(async (store) => {
        await refused(store.commit([{ write: "audit", row: auditRow(1) }]), "wrong-state");
        await refused(store.commit([{ write: "audit", row: auditRow(0, hash("fork")) }]), "wrong-state");
        await store.commit([0, 1, 2].map((seq): StoreWrite => ({ write: "audit", row: auditRow(seq) })));
        await refused(store.commit([{ write: "audit", row: auditRow(2) }]), "wrong-state");
        await refused(store.commit([{ write: "audit", row: auditRow(4) }]), "wrong-state");
        await refused(store.commit([{ write: "audit", row: auditRow(3, hash("audit 1")) }]), "wrong-state");
        await store.commit([{ write: "audit", row: auditRow(3) }]);
        assert.equal((await store.auditHead())?.seq, 3);
        assert.deepEqual(
          (await store.audit({ from: 1, limit: 2 })).map((row) => row.seq),
          [1, 2],
        );
      });
    });

    test("sessions are found by subject and by whether they live, newest first", async () => {
      await withStore(async (store) => {
        await store.commit([
          { write: "session", row: sessionRow("a", { startedAt: at(1) }) },
          { write: "session", row: sessionRow("b", { startedAt: at(2), endedAt: at(3), state: "done" }) },
          { write: "session", row: sessionRow("c", { startedAt: at(3), subject: "other" }) },
        ]);
        await store.commit([
          { write: "session", row: sessionRow("a", { startedAt: at(1), state: "round1" }) },
        ]);
        const found = async (query: Parameters<NodeStore["sessions"]>[0]): Promise<string[]> =>
          (await store.sessions(query)).map((row) => row.session);
        assert.deepEqual(await found({}), ["c", "b", "a"].map(sessionOf));
        assert.deepEqual(await found({ subject: "grant" }), ["b", "a"].map(sessionOf));
        assert.deepEqual(await found({ live: true }), ["c", "a"].map(sessionOf));
        assert.deepEqual(await found({ live: false }), [sessionOf("b")]);
        assert.deepEqual(await found({ limit: 1 }), [sessionOf("c")]);
        assert.equal((await store.session(sessionOf("a")))?.state, "round1");
      });
    });

    test("violations are found by id and by node, newest first; a ban is one a violation and changes when it is lifted", async () => {
      await withStore(async (store) => {
        const violation = (name: string, of: number, time: number) => ({
          id: hash(name),
          node: node(of),
          type: "DoubleVote",
          subject: null,
          evidence: bytes(name),
          action: "banned",
          detectedAt: at(time),
        });
        const ban = {
          node: node(2),
          violation: hash("a"),
          from: at(1),
          until: at(100),
          scope: "local",
          count: 1,
          liftedAt: null,
        } as const;
        await store.commit([
          { write: "violation", row: violation("a", 2, 1) },
          { write: "violation", row: violation("b", 3, 2) },
          { write: "violation", row: violation("c", 2, 3) },
          { write: "ban", row: { ...ban, violation: hash("c"), from: at(3), count: 2 } },
          { write: "ban", row: ban },
        ]);
        assert.deepEqual(
          (await store.violations({ limit: 2 })).map((row) => row.id),
          [hash("c"), hash("b")],
        );
        assert.deepEqual(
          (await store.violations({ id: hash("b"), limit: 9 })).map((row) => row.id),
          [hash("b")],
        );
        assert.deepEqual(
          (await store.violations({ node: node(2), limit: 9 })).map((row) => row.id),
          [hash("c"), hash("a")],
        );
        await store.commit([{ write: "ban", row: { ...ban, liftedAt: at(50), scope: "cluster" } }]);
        assert.deepEqual(await store.bans(), [
          { ...ban, liftedAt: at(50), scope: "cluster" },
          { ...ban, violation: hash("c"), from: at(3), count: 2 },
        ]);
      });
    });

    test("bodies of four megabytes come back whole, and a view of a larger buffer keeps to itself", async () => {
      await withStore(async (store) => {
        const body = new Uint8Array(randomBytes(4 * 1024 * 1024));
        const around = Buffer.alloc(64, 7);
        const view = around.subarray(8, 16);
        const committed = store.commit([
          { write: "transaction", row: transactionRow("huge", { intentBody: body }) },
          { write: "meta", key: "view", value: view },
        ]);
        around.fill(9);
        await committed;
        const read = await store.transaction({ intent: intentOf("huge") });
        assert.ok(read && Buffer.compare(read.intentBody, body) === 0);
        const value = await store.meta("view");
        assert.deepEqual(value, new Uint8Array(8).fill(7));
        assert.equal(value?.buffer.byteLength, 8);
      });
    });

    test("large commits that are asked for together all arrive, in order", async () => {
      await withStore(async (store) => {
        const bodies = Array.from({ length: 7 }, () => new Uint8Array(randomBytes(4 * 1024 * 1024)));
        await Promise.all(
          bodies.map((value, i) =>
            store.commit([
              { write: "meta", key: `body ${i}`, value },
              { write: "audit", row: auditRow(i) },
            ]),
          ),
        );
        for (const [i, body] of bodies.entries()) {
          const read = await store.meta(`body ${i}`);
          assert.ok(read && Buffer.compare(read, body) === 0);
        }
        assert.equal((await store.auditHead())?.seq, 6);
      });
    });

    test("what a caller does to a row that it wrote or read changes nothing in the store", async () => {
      await withStore(async (store) => {
        const value = bytes("value");
        await store.commit([{ write: "meta", key: "k", value }]);
        value.fill(0);
        const read = await store.meta("k");
        read?.fill(1);
        assert.deepEqual(await store.meta("k"), bytes("value"));
      });
    });

    test("a closed store refuses everything, and a second close is no error", async () => {
      await withStore(async (store) => {
        const pending = store.commit([{ write: "meta", key: "k", value: bytes("v") }]);
        await store.close();
        await pending;
        await store.close();
        await refused(store.commit([{ write: "meta", key: "k", value: bytes("v") }]), "closed");
        await refused(store.commit([]), "closed");
        await refused(store.meta("k"), "closed");
        await refused(store.burn(presignatureOf("a"), sessionOf("s"), at(1)), "closed");
      });
    });

    test("a place holds one open store", async () => {
      const place = await createPlace();
      const store = await place.open();
      try {
        await refused(place.open(), "storage-locked");
        await store.commit([{ write: "meta", key: "k", value: bytes("v") }]);
      } finally {
        await store.close();
      }
      const next = await place.open();
      assert.deepEqual(await next.meta("k"), bytes("v"));
      await next.close();
      await place.remove();
    });
  });
}
