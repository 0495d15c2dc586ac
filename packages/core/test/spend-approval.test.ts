import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  approversOf,
  isCairnError,
  MAX_REQUEST_LIFETIME_MS,
  parseShape,
  type SpendApproval,
  signBody,
  signSpendApproval,
  spendApprovalSchema,
  type UnixMs,
  verifySpendApproval,
} from "../src/index.ts";
import { alterations, namedSigner, refuses } from "../test-support/index.ts";
import { HOUR, hash, inForceOf, NOW } from "./small-cluster.ts";

const people = ["ann", "bob", "cem"].map(namedSigner);
const [ann, bob] = people;
assert.ok(ann && bob);
const { manifest } = inForceOf({ approvers: people.map((key) => key.publicKey) });
const context = { manifest, requestHash: hash("request"), now: NOW, clockSkewMs: 2_000 };
const approvalOf = (signer = ann, change: Partial<SpendApproval> = {}) =>
  signSpendApproval(
    {
      version: 1,
      cluster: manifest.cluster,
      requestHash: context.requestHash,
      approver: signer.publicKey,
      createdAt: NOW,
      expiry: (NOW + HOUR) as UnixMs,
      ...change,
    },
    signer,
  );

test("an approval counts for its request alone, while it lasts, under a key of the manifest", () => {
  verifySpendApproval(approvalOf(), context);
  const check = (approval: ReturnType<typeof approvalOf>, change: Partial<typeof context> = {}) =>
    verifySpendApproval(approval, { ...context, ...change });
  refuses("wrong-state", () => check(approvalOf(), { requestHash: hash("replacement") }));
  refuses("wrong-state", () => check(approvalOf(ann, { requestHash: hash("other") })));
  refuses("wrong-cluster", () => check(approvalOf(ann, { cluster: hash("other") })));
  refuses("unknown-approver", () => check(approvalOf(namedSigner("stranger"))));
  refuses("unknown-approver", () => check(approvalOf(), { manifest: { ...manifest, approvers: [] } }));
  refuses("signature-invalid", () => check(approvalOf(ann, { approver: bob.publicKey })));
  refuses("expired", () => check(approvalOf(), { now: (NOW + HOUR) as UnixMs }));
  check(approvalOf(), { now: (NOW - 2_000) as UnixMs });
  refuses("clock-skew", () => check(approvalOf(), { now: (NOW - 2_001) as UnixMs }));
  const request = signBody("cairn/spend-request/v1", approvalOf().body, ann);
  refuses("signature-invalid", () => check(request));
});

test("no field of a signed approval can be altered", () => {
  const signed = approvalOf();
  for (const { path, altered } of alterations(signed)) {
    assert.throws(() => verifySpendApproval(altered, context), isCairnError, path);
  }
});

test("an approval that expires before it is made, or outlives every request, is none", () => {
  const parse = (expiry: number) =>
    parseShape(spendApprovalSchema, { ...approvalOf().body, expiry: expiry as UnixMs });
  refuses("malformed", () => parse(NOW));
  parse(NOW + MAX_REQUEST_LIFETIME_MS);
  refuses("malformed", () => parse(NOW + MAX_REQUEST_LIFETIME_MS + 1));
});

test("policy hears of each approver once, whatever else lies among the approvals", () => {
  const rubbish = [
    approvalOf(namedSigner("stranger")),
    approvalOf(bob, { requestHash: hash("other") }),
    approvalOf(bob, { createdAt: (NOW - 2 * HOUR) as UnixMs, expiry: (NOW - HOUR) as UnixMs }),
    { ...approvalOf(bob), signature: approvalOf(ann).signature },
  ];
  fc.assert(
    fc.property(fc.subarray(people), fc.subarray(rubbish), fc.boolean(), (signers, noise, twice) => {
      const good = signers.map((signer) => approvalOf(signer));
      const counted = approversOf([...noise, ...good, ...(twice ? good : [])], context);
      assert.deepEqual(
        counted,
        signers.map((signer) => signer.publicKey),
      );
    }),
  );
});
