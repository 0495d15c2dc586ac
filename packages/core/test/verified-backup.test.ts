import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decodeCanonical,
  encodeCanonical,
  parseShape,
  signedVerifiedBackupSchema,
  signVerifiedBackup,
  type VerifiedBackup,
  verifiedBackupSchema,
  verifyVerifiedBackup,
} from "../src/index.ts";
import { namedSigner, refuses, testManifest } from "../test-support/index.ts";
import { hash, NOW, node, nodeKey, operatorKey } from "./small-cluster.ts";

const manifest = testManifest(
  [1, 2, 3, 4, 5].map((index) => ({
    identity: nodeKey(index).publicKey,
    operator: operatorKey(index).publicKey,
  })),
  { createdAt: NOW },
);

const backup: VerifiedBackup = {
  version: 1,
  cluster: manifest.cluster,
  node: node(3),
  backup: hash("file"),
  keys: [{ keyId: hash("key"), epoch: 0 }],
  createdAt: NOW,
  verifiedAt: NOW,
};

test("an operator's word on the own node's backup is taken, and reads back the same", () => {
  const signed = signVerifiedBackup(backup, operatorKey(3));
  verifyVerifiedBackup(signed, manifest);
  assert.deepEqual(decodeCanonical(signedVerifiedBackupSchema, encodeCanonical(signed)), signed);
});

test("nobody else's word is taken: not another operator's, not the node's own, not a stranger's", () => {
  for (const signer of [operatorKey(1), nodeKey(3), namedSigner("stranger")])
    refuses("operator-signature-missing", () =>
      verifyVerifiedBackup(signVerifiedBackup(backup, signer), manifest),
    );
});

test("a word that is altered in any field is refused", () => {
  const signed = signVerifiedBackup(backup, operatorKey(3));
  const altered: { readonly [Field in keyof VerifiedBackup]?: unknown } = {
    node: 4,
    backup: hash("another file"),
    keys: [{ keyId: hash("key"), epoch: 1 }],
    createdAt: NOW + 1,
    verifiedAt: NOW + 1,
  };
  for (const [field, value] of Object.entries(altered)) {
    const body = verifiedBackupSchema.parse({ ...backup, [field]: value });
    refuses("operator-signature-missing", () => verifyVerifiedBackup({ ...signed, body }, manifest));
  }
  const foreign = signVerifiedBackup({ ...backup, cluster: hash("another cluster") }, operatorKey(3));
  refuses("wrong-cluster", () => verifyVerifiedBackup(foreign, manifest));
  refuses("malformed", () => parseShape(verifiedBackupSchema, { ...backup, version: 2 }));
});

test("keys stand once and in order, so that a word has one form", () => {
  const [a, b] = [hash("a"), hash("b")].toSorted();
  for (const keys of [
    [b, a],
    [a, a],
  ])
    refuses("malformed", () =>
      parseShape(verifiedBackupSchema, { ...backup, keys: keys.map((keyId) => ({ keyId, epoch: 0 })) }),
    );
});
