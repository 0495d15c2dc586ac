import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { RestFixture } from "./rest-fixture.ts";

let rest: RestFixture;
before(async () => {
  rest = await RestFixture.start();
});
after(() => rest.close());

test("a key's request stands among the proposals, in the manifest's mode but with all nodes needed, and can be refused", async () => {
  const made = await rest.call("POST", "/api/v1/keys", { body: rest.signedKeygen() });
  assert.equal(made.status, 202, made.text);
  const change = await rest.call("POST", "/api/v1/proposals", {
    body: { proposal: rest.proposal().proposal },
  });
  const keyId = String(made.json.keyId);
  const listed = async (query = "") => {
    const { json } = await rest.call("GET", `/api/v1/proposals${query}`);
    return (json.proposals as Record<string, unknown>[]).map(({ proposal, type, state }) => [
      proposal,
      type,
      state,
    ]);
  };
  assert.deepEqual(
    (await listed()).toSorted(),
    [
      [keyId, "keygen", "open"],
      [change.json.proposal, "manifest", "open"],
    ].toSorted(),
  );
  const one = await rest.call("GET", `/api/v1/proposals/${keyId}`);
  const { modes, members } = rest.cluster.manifest;
  assert.deepEqual([one.json.mode, one.json.needed], [modes.keygen, members.length]);
  assert.equal(change.json.mode, modes.policy);

  const signed = await rest.call("POST", `/api/v1/proposals/${keyId}/signature`, {
    body: { signature: rest.proposal().signature },
  });
  assert.equal(signed.json.code, "wrong-state");
  const refused = await rest.call("POST", `/api/v1/proposals/${keyId}/refusal`);
  assert.deepEqual([refused.status, refused.json.state], [202, "rejected"]);
  assert.deepEqual(await listed("?state=rejected"), [[keyId, "keygen", "rejected"]]);
});
