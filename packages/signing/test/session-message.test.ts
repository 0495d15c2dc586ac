import assert from "node:assert/strict";
import { test } from "node:test";
import { isCairnError, type MessageKind, type NodeIndex, type SessionId } from "@cairn/core";
import fc from "fast-check";
import {
  decodeSessionMessage,
  encodeSessionMessage,
  nackOf,
  type SessionMessage,
  sessionMessageKinds,
  signMessage,
  type UnsignedMessage,
} from "../src/index.ts";
import { cluster, nodesOf } from "./bench/session-bench.ts";
import { benchWithKey, fourSigners, fullWork, signProposal } from "./bench/stocked-bench.ts";
import { testIdentity } from "./bench/test-identity.ts";

const signer = testIdentity("node 1");
const session = "5e".repeat(32) as SessionId;

test("every message of a session survives its wire form", async () => {
  const bench = await benchWithKey("frost");
  const seen = new Map<string, SessionMessage>();
  bench.intercept = (_from, _to, message) => {
    seen.set(message.kind === "round" ? message.content.type : message.kind, message);
    return [message];
  };
  const proposal = signProposal({ signers: fourSigners });
  bench.begin(proposal, (node) => fullWork(node, "frost", fourSigners));
  await bench.run();
  const nack = nackOf(proposal, 2 as NodeIndex, "busy", "try later");
  seen.set("nack", signMessage(nack.message, signer));
  const partial: UnsignedMessage = {
    kind: "partial",
    domain: "cairn/partial/v1",
    body: {
      version: 1,
      cluster,
      session,
      execution: "ec".repeat(32) as never,
      presignature: "0d".repeat(32) as never,
      input: 0,
      sighash: "00".repeat(32) as never,
      from: 1 as NodeIndex,
      partial: Uint8Array.of(1, 2),
    },
  };
  seen.set("partial", signMessage(partial, signer));
  const abort: UnsignedMessage = {
    kind: "abort",
    domain: "cairn/abort/v1",
    body: { version: 1, cluster, session, node: 1 as NodeIndex, code: "timeout", blamed: nodesOf(2) },
  };
  seen.set("abort", signMessage(abort, signer));
  assert.deepEqual([...seen.keys()].sort(), [
    "abort",
    "ack",
    "broadcast",
    "direct",
    "finalize",
    "nack",
    "partial",
    "proposal",
    "start",
  ]);
  for (const message of seen.values()) {
    assert.deepEqual(decodeSessionMessage(message.kind, encodeSessionMessage(message)), message);
    for (const kind of sessionMessageKinds) {
      if (kind === message.kind) continue;
      assert.throws(
        () => decodeSessionMessage(kind, encodeSessionMessage(message)),
        (error) => isCairnError(error, "malformed"),
      );
    }
  }
});

test("noise, and kinds that sessions do not exchange, are refused with a typed error", () => {
  fc.assert(
    fc.property(fc.constantFrom(...sessionMessageKinds), fc.uint8Array({ maxLength: 400 }), (kind, noise) => {
      assert.throws(() => decodeSessionMessage(kind, noise), isCairnError);
    }),
  );
  const foreign: MessageKind[] = ["vote", "intent", "presign-ready"];
  for (const kind of foreign) {
    assert.throws(
      () => decodeSessionMessage(kind, new Uint8Array()),
      (error) => isCairnError(error, "malformed"),
    );
  }
});
