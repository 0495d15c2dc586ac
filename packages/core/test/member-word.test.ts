import assert from "node:assert/strict";
import { test } from "node:test";
import { isCairnError, signBody, verifyManifestWord, verifyMemberWord } from "../src/index.ts";
import { refuses } from "../test-support/index.ts";
import { hash, inForceOf, node, nodeKey } from "./small-cluster.ts";

const { manifest, manifestHash } = inForceOf();
const body = { cluster: manifest.cluster, manifestHash, subject: hash("subject") };
const wordOf = (change: Partial<typeof body> = {}, signer = nodeKey(2)) =>
  signBody("cairn/change-vote/v1", { ...body, ...change }, signer);

test("a member's word holds under its own key, tag, cluster and manifest alone", () => {
  const verify = (word: ReturnType<typeof wordOf>, from = 2) =>
    verifyManifestWord("cairn/change-vote/v1", word, node(from), manifest, manifestHash);
  verify(wordOf());
  refuses("signature-invalid", () => verify(wordOf(), 3));
  refuses("signature-invalid", () => verify(wordOf({}, nodeKey(3))));
  refuses("signature-invalid", () => verify({ ...wordOf(), body: { ...body, subject: hash("other") } }));
  refuses("not-member", () => verify(wordOf(), 6));
  refuses("wrong-cluster", () => verify(wordOf({ cluster: hash("other") })));
  refuses("wrong-manifest", () => verify(wordOf({ manifestHash: hash("other") })));
  refuses("signature-invalid", () => verifyMemberWord("cairn/vote/v1", wordOf(), node(2), manifest));
});

test("a word that names another manifest holds where the manifest does not matter", () => {
  verifyMemberWord("cairn/change-vote/v1", wordOf({ manifestHash: hash("other") }), node(2), manifest);
});

test("a refusal names the kind of word and the node that it claims to be of", () => {
  assert.throws(
    () => verifyMemberWord("cairn/change-vote/v1", wordOf(), node(3), manifest),
    (error) => isCairnError(error) && /change vote/.test(error.message) && error.data.node === 3,
  );
});
