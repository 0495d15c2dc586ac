import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CairnError,
  type Courier,
  Ed25519Signer,
  type ExecutionId,
  type KeyId,
  type NodeIndex,
  type Nonce,
  type PresignatureId,
  type PresignatureRow,
  type SessionId,
  type StoreWrite,
  systemClock,
  toHex,
} from "@cairn/core";
import {
  type Ack,
  executionIdOf,
  type IssuePartial,
  makeProposal,
  type Proposal,
  proposalHash,
  type SessionWork,
  signMessage,
} from "@cairn/signing";
import { createMemoryEngine } from "@cairn/signing/memory-engine";
import { Loop } from "../src/loop.ts";
import { SessionDesk } from "../src/session-desk.ts";
import type { SessionEnd } from "../src/session-owner.ts";

const cluster = "c1".repeat(32) as never;
const keyId = "ee".repeat(32) as KeyId;
const signers = [1, 2] as NodeIndex[];
const timeouts = { ackMs: 5_000, startMs: 5_000, roundMs: 5_000, sessionMs: 5_000 };
const ownNonce = new Uint8Array(32).fill(7);

function idOf(count: number): PresignatureId {
  return count.toString(16).padStart(64, "0") as PresignatureId;
}

function proposalOf(count: number): Proposal {
  return makeProposal({
    cluster,
    purpose: "sign",
    subject: idOf(100 + count) as string as Proposal["subject"],
    stage: null,
    job: null,
    attempt: 0,
    initiator: 1 as NodeIndex,
    signers,
    protocolVersion: 1,
    items: [idOf(count)],
  });
}

function workOf(count: number): SessionWork {
  const presignatureId = idOf(count);
  const facts = {
    id: presignatureId,
    keyId,
    path: [0, 0] as const,
    epoch: 0,
    signers,
    state: "ready" as const,
  };
  const input = {
    input: 0,
    presignatureId,
    path: [0, 0] as const,
    sighash: idOf(200 + count) as never,
    preimage: Uint8Array.of(count),
  };
  return { kind: "presigned", keyId, epoch: 0, inputs: [input], stock: [facts] };
}

function ackOf(proposal: Proposal, node: number, nonce: Uint8Array): Ack {
  return {
    version: 1,
    cluster,
    session: proposal.sessionId,
    node: node as NodeIndex,
    proposalHash: proposalHash(proposal),
    nonce: toHex(nonce) as Nonce,
    sealing: null,
  };
}

/** A desk of node 1 over a store that burns and an engine that issues, each with a wait that is longest for the first. */
function bench() {
  const identities = [Ed25519Signer.generate(), Ed25519Signer.generate()] as const;
  const issued: { readonly counter: number; readonly done: boolean }[] = [];
  const ends: SessionEnd[] = [];
  let burns = 0;
  let calls = 0;
  const wait = () => new Promise<void>((resolve) => setTimeout(resolve, Math.max(1, 12 - 3 * calls++)));
  const courier: Courier = {
    start: async () => {},
    send: () => {},
    posting: () => {
      throw new Error("a session posts nothing");
    },
    kick: () => {},
    peers: () => [],
    setRefused: () => {},
    useSealingKeys: () => {},
    close: async () => {},
  };
  const reported: unknown[] = [];
  const report = (cause: unknown) => void reported.push(cause);
  const audit = { entries: () => [], committed: () => {}, discarded: () => {} };
  const past = new Set<ExecutionId>();
  const commit = async (writes: readonly StoreWrite[]) => {
    for (const write of writes) {
      if (write.write === "session" && write.row.execution !== null && past.has(write.row.execution))
        throw new CairnError("replayed", "an earlier session had this execution");
    }
  };
  const loop = new Loop({ store: { commit }, courier, audit, report });
  const engine = {
    ...createMemoryEngine({ seed: new Uint8Array(32) }),
    issuePartial: async ({ receipt }: IssuePartial): Promise<Uint8Array> => {
      const highest = issued.at(-1)?.counter ?? 0;
      assert.ok(
        issued.every(({ done }) => done),
        "one partial is made at a time",
      );
      if (receipt.burnCounter <= highest)
        throw new CairnError("presignature-used", "the counter does not rise");
      const at = issued.push({ counter: receipt.burnCounter, done: false }) - 1;
      await wait();
      issued[at] = { counter: receipt.burnCounter, done: true };
      return Uint8Array.of(receipt.burnCounter);
    },
  };
  const members = identities.map((identity, at) => ({ index: at + 1, identity: identity.publicKey }));
  const desk = new SessionDesk(
    { me: 1 as NodeIndex, book: { manifest: { cluster, members } as never } },
    {
      loop,
      courier,
      engine,
      signer: identities[0],
      clock: systemClock,
      random: { bytes: () => ownNonce },
      report,
      store: {
        burn: async () => {
          const counter = ++burns;
          await wait();
          return counter;
        },
        presignature: async (id) => ({ id, epoch: 0, sealed: new Uint8Array() }) as PresignatureRow,
      },
      publicPackage: () => new Uint8Array(),
      violation: () => {},
      changed: () => {},
    },
  );
  const owner = {
    finished: () => assert.fail("node 2 never sends its partial"),
    ended: (_: unknown, end: SessionEnd) => void ends.push(end),
    progress: () => {},
  };
  /** Opens a session at node 1, its initiator, and lets node 2 acknowledge. */
  const open = async (count: number, nonce: Uint8Array): Promise<SessionId> => {
    const proposal = proposalOf(count);
    await loop.run((batch) => desk.open(batch, proposal, workOf(count), owner, timeouts, null));
    const body = ackOf(proposal, 2, nonce);
    const ack = signMessage({ kind: "ack", domain: "cairn/ack/v1", body }, identities[1]);
    await desk.receive(2 as NodeIndex, proposal.sessionId, ack);
    return proposal.sessionId;
  };
  return { desk, open, issued, ends, reported, past, burnt: () => burns };
}

async function until(holds: () => boolean): Promise<void> {
  for (const end = Date.now() + 4_000; !holds(); ) {
    assert.ok(Date.now() < end, "it never came");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test("partials of sessions side by side are made one at a time, in the order of their burns", async () => {
  const { desk, open, issued, reported } = bench();
  await Promise.all([1, 2, 3, 4].map((count) => open(count, new Uint8Array(32).fill(count))));
  await until(() => issued.length === 4 && issued.every(({ done }) => done));
  assert.deepEqual(
    issued.map(({ counter }) => counter),
    [1, 2, 3, 4],
  );
  await desk.close();
  assert.deepEqual(reported, []);
});

test("an execution of the past is never run again: nothing is burned for it", async () => {
  const { desk, open, ends, past, reported, burnt } = bench();
  const nonce = new Uint8Array(32).fill(9);
  const proposal = proposalOf(1);
  const execution = executionIdOf(proposal.sessionId, [
    ackOf(proposal, 1, ownNonce),
    ackOf(proposal, 2, nonce),
  ]);
  past.add(execution);
  await open(1, nonce);
  await until(() => ends.length === 1);
  assert.equal(ends[0]?.code, "replayed");
  assert.equal(burnt(), 0);
  assert.deepEqual(reported, []);
  assert.equal(desk.count, 0);
});

test("a presignature is held while a session means to use it, and sessions with a dismissed node end", async () => {
  const { desk, open, ends } = bench();
  const session = await open(1, new Uint8Array(32).fill(3));
  assert.equal(desk.has(session), true);
  assert.equal(desk.holds(idOf(1)), true);
  assert.equal(desk.holds(idOf(2)), false);
  desk.dismiss(3 as NodeIndex);
  assert.equal(desk.has(session), true);
  desk.dismiss(2 as NodeIndex);
  await until(() => ends.length === 1);
  assert.equal(desk.holds(idOf(1)), false);
});
