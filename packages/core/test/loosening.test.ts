import assert from "node:assert/strict";
import { test } from "node:test";
import { loosens, type Manifest, policyHash } from "../src/index.ts";
import { namedSigner, openPolicy } from "../test-support/index.ts";
import { hash, inForceOf } from "./small-cluster.ts";

const [ann, bob] = ["ann", "bob"].map((name) => namedSigner(name).publicKey);
assert.ok(ann && bob);
const { manifest } = inForceOf({
  requesters: [ann],
  approvers: [ann, bob],
  policyEngines: [ann],
  policyDelayMs: 10,
  changeDelayMs: 10,
  protocolVersions: [1, 2],
});
const { modes, members } = manifest;
const withMember = (change: object): Partial<Manifest> => ({
  members: members.map((member, at) => (at === 0 ? { ...member, ...change } : member)),
});

const loosening: Record<string, Partial<Manifest>> = {
  "a new requester": { requesters: [ann, bob] },
  "another requester": { requesters: [bob] },
  "a new approver": { approvers: [ann, bob, namedSigner("cem").publicKey] },
  "a new coordinator": { coordinators: [bob] },
  "a new policy engine": { policyEngines: [ann, bob] },
  "a new transaction service": { transactionServices: [bob] },
  "a new protocol version": { protocolVersions: [1, 2, 3] },
  "another identity": withMember({ identity: bob }),
  "another sealing key": withMember({ sealing: bob }),
  "another operator": withMember({ operator: bob }),
  "a member less": { members: members.slice(0, 4) },
  "another threshold": { threshold: 5 },
  "other proof of grants": { authorisation: "policy-engine" },
  "a weaker mode": { modes: { ...modes, keygen: "bft" } },
  "a shorter policy delay": { policyDelayMs: 9 },
  "a shorter delay of changes": { changeDelayMs: 9 },
  "another CA": { caFingerprint: hash("other") },
  "unsigned requests": { unsignedRequests: true },
  "anchors in spends": { checkpointAnchors: true },
  "another policy": { policy: hash("other") },
};
const harmless: Record<string, Partial<Manifest>> = {
  nothing: {},
  "a requester less": { requesters: [] },
  "approvers in another order": { approvers: [bob, ann] },
  "a protocol version less": { protocolVersions: [2] },
  "another address": withMember({ addresses: ["tcp://elsewhere:9000"], name: "moved", api: "https://x" }),
  "both proofs of grants": { authorisation: "hybrid" },
  "a stronger mode": { modes: { ...modes, spend: "unanimous" } },
  "longer delays": { policyDelayMs: 11, changeDelayMs: 11 },
};

for (const [name, change] of Object.entries(loosening)) {
  test(`${name} loosens`, () => assert.ok(loosens(manifest, { ...manifest, ...change }, null)));
}
for (const [name, change] of Object.entries(harmless)) {
  test(`${name} does not loosen`, () => assert.ok(!loosens(manifest, { ...manifest, ...change }, null)));
}

const base = {
  perTransactionMaxSats: 100,
  whitelist: ["a", "b"],
  rateLimit: { count: 5, windowMs: 5_000 },
  delayMs: 10,
  approvals: { m: 1, keys: [ann, bob], aboveSats: 10 },
};
const policyCases: [string, object, boolean][] = [
  ["a limit that rises", { perTransactionMaxSats: 101 }, true],
  ["a limit that goes", { perTransactionMaxSats: null }, true],
  ["a limit that falls", { perTransactionMaxSats: 99 }, false],
  ["a limit that comes", { feeCeilingSats: 1 }, false],
  ["a recipient more", { whitelist: ["a", "b", "c"] }, true],
  ["no whitelist", { whitelist: null }, true],
  ["a recipient less", { whitelist: ["a"] }, false],
  ["a higher rate", { rateLimit: { count: 6, windowMs: 5_000 } }, true],
  ["a shorter window", { rateLimit: { count: 5, windowMs: 4_000 } }, true],
  ["a lower rate", { rateLimit: { count: 4, windowMs: 6_000 } }, false],
  ["a shorter delay", { delayMs: 9 }, true],
  ["no approvals", { approvals: null }, true],
  ["another approver", { approvals: { m: 1, keys: [ann, hash("cem")], aboveSats: 10 } }, true],
  ["approvals from a higher sum", { approvals: { m: 1, keys: [ann, bob], aboveSats: 11 } }, true],
  ["more approvals", { approvals: { m: 2, keys: [ann, bob], aboveSats: 5 } }, false],
];
for (const [name, change, expected] of policyCases) {
  test(`of a policy, ${name} ${expected ? "loosens" : "does not loosen"}`, () => {
    const current = openPolicy(base);
    const next = openPolicy({ ...base, ...change });
    const of = { ...manifest, policy: policyHash(current) };
    const to = { ...manifest, policy: policyHash(next) };
    assert.equal(loosens(of, to, { current, next }), expected);
    assert.ok(loosens(of, to, null), "without the documents every change of policy loosens");
    const tighter = openPolicy({ ...base, perTransactionMaxSats: 1 });
    assert.ok(loosens(of, to, { current, next: tighter }), "and with another next than is pinned");
    const laxer = openPolicy({ ...base, ...change, version: 1, policyVersion: 9 });
    assert.ok(loosens(of, to, { current: laxer, next }), "and with another current than is pinned");
  });
}
