import assert from "node:assert/strict";
import { test } from "node:test";
import {
  isCairnError,
  type RequestHash,
  type SpendRequest,
  spendRequestHash,
  type WalletId,
} from "@cairn/core";
import { lineageOf, MAX_LINEAGE_DEPTH } from "../src/index.ts";
import { clusterOf, hash, nonceOf, requestOf } from "./cluster.ts";

const cluster = clusterOf();

function chain(length: number): {
  requests: SpendRequest[];
  known: (hash: RequestHash) => SpendRequest | undefined;
} {
  const requests = [requestOf(cluster)];
  while (requests.length < length) {
    const last = requests[requests.length - 1];
    if (last === undefined) break;
    requests.push(
      requestOf(cluster, { replaces: spendRequestHash(last), nonce: nonceOf(`${requests.length}`) }),
    );
  }
  const byHash = new Map(requests.map((request) => [spendRequestHash(request), request]));
  return { requests, known: (each) => byHash.get(each) };
}

test("every replacement of a request, and of its replacements, is of one lineage", () => {
  const { requests, known } = chain(5);
  const first = requests[0];
  assert.ok(first);
  const sibling = requestOf(cluster, { replaces: spendRequestHash(first), nonce: nonceOf("sibling") });
  const lineages = [...requests, sibling].map((request) => lineageOf(request, known));
  for (const lineage of lineages) {
    assert.equal(lineage.kind, "known");
    assert.equal(lineage.kind === "known" && lineage.lineage, spendRequestHash(first));
  }
});

test("an unknown predecessor is named, never guessed", () => {
  const request = requestOf(cluster, { replaces: hash("unseen") as RequestHash });
  assert.deepEqual(
    lineageOf(request, () => undefined),
    { kind: "unknown", missing: hash("unseen") },
  );
});

test("a replacement cannot move a lineage to another wallet, nor stretch for ever", () => {
  const { requests, known } = chain(2);
  const last = requests[1];
  assert.ok(last);
  assert.throws(
    () => lineageOf({ ...last, wallet: hash("other") as WalletId }, known),
    (error) => isCairnError(error, "wrong-wallet"),
  );
  const long = chain(MAX_LINEAGE_DEPTH + 2);
  const tip = long.requests.at(-1);
  assert.ok(tip);
  assert.throws(
    () => lineageOf(tip, long.known),
    (error) => isCairnError(error, "too-large"),
  );
});
