import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ClusterId,
  Ed25519Signer,
  type NodeIndex,
  type PeerMessage,
  type SessionId,
  type SessionRow,
  type StoreWrite,
  systemClock,
  verifySigned,
} from "@cairn/core";
import { decodeSessionMessage } from "@cairn/signing";
import { InterruptedSessions } from "../src/interrupted-sessions.ts";
import { Loop } from "../src/loop.ts";

const cluster = "c1".repeat(32) as ClusterId;
const signer = Ed25519Signer.generate();

function rowOf(count: number, signers: readonly number[]): SessionRow {
  return {
    session: count.toString(16).padStart(64, "0") as SessionId,
    signers,
    state: "started",
    failure: null,
    endedAt: null,
  } as SessionRow;
}

function bench(rows: readonly SessionRow[]) {
  const sent: { readonly to: number; readonly message: PeerMessage }[] = [];
  const writes: StoreWrite[] = [];
  const loop = new Loop({
    store: { commit: async (more) => void writes.push(...more) },
    courier: { send: (to: NodeIndex, message: PeerMessage) => void sent.push({ to, message }) } as never,
    audit: { entries: () => [], committed: () => {}, discarded: () => {} },
    report: (cause) => assert.fail(String(cause)),
  });
  const interrupted = new InterruptedSessions(
    { me: 1 as NodeIndex, manifest: { cluster } },
    { store: { sessions: async () => rows }, loop, signer, clock: systemClock },
  );
  return { interrupted, sent, writes };
}

test("sessions that a crash cut short are over, and nobody is told before it is up", async () => {
  const { interrupted, sent, writes } = bench([rowOf(1, [1, 2]), rowOf(2, [1, 3])]);
  await interrupted.end();
  assert.deepEqual(
    writes.map((write) => write.write === "session" && [write.row.state, write.row.failure]),
    [
      ["failed", "closed"],
      ["failed", "closed"],
    ],
  );
  assert.deepEqual(sent, []);
});

test("each signer is told once, of its own sessions, in a signed word that blames nobody", async () => {
  const { interrupted, sent } = bench([rowOf(1, [1, 2]), rowOf(2, [1, 2, 3])]);
  await interrupted.end();
  await interrupted.peerUp(2 as NodeIndex);
  await interrupted.peerUp(2 as NodeIndex);
  await interrupted.peerUp(4 as NodeIndex);
  assert.deepEqual(
    sent.map(({ to, message }) => [to, message.session]),
    [
      [2, rowOf(1, []).session],
      [2, rowOf(2, []).session],
    ],
  );
  for (const { message } of sent) {
    const abort = decodeSessionMessage(message.kind, message.payload);
    assert.ok(abort.kind === "abort" && verifySigned("cairn/abort/v1", abort.signed, signer.publicKey));
    const { node, session, code, blamed } = abort.signed.body;
    assert.deepEqual(
      { node, session, code, blamed },
      { node: 1, session: message.session, code: "closed", blamed: [] },
    );
  }
});
