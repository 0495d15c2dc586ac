import assert from "node:assert/strict";
import { chmod, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { CairnError, Ed25519Signer, encodeCanonical, SealingKey, systemRandom } from "@cairn/core";
import { certificateToPem, issueNodeCertificate } from "@cairn/pki";
import { loadConfig } from "../src/load-config.ts";
import { type NodeFiles, readNodeFiles } from "../src/read-node-files.ts";
import { NodeFolder, type TestCluster, testCluster } from "./node-folder.ts";

async function read(
  spoil: (folder: NodeFolder, cluster: TestCluster) => Promise<unknown>,
  options: { readonly now?: number; readonly cluster?: TestCluster } = {},
): Promise<NodeFiles> {
  const cluster = options.cluster ?? testCluster();
  const folder = await NodeFolder.create(cluster);
  try {
    await spoil(folder, cluster);
    const loaded = await loadConfig({ file: folder.config, environment: {}, flags: {} });
    return await readNodeFiles(loaded, options.now ?? Date.now());
  } finally {
    await folder.remove();
  }
}

test("a whole folder is read and belongs together", async () => {
  const cluster = testCluster();
  const files = await read(async () => {}, { cluster });
  assert.deepEqual(files.manifest, cluster.manifest);
  assert.deepEqual(files.policy, cluster.policy);
  assert.equal(files.signer.publicKey, cluster.identities[0]?.publicKey);
  assert.equal(files.sealing.publicKey, cluster.sealings[0]?.publicKey);
  assert.deepEqual([files.me, files.epoch, files.tls], [1, 0, null]);
  assert.ok(files.certificateEnds > Date.now());
});

const DAY = 24 * 60 * 60 * 1000;
const cases: readonly (readonly [
  string,
  (folder: NodeFolder, cluster: TestCluster) => Promise<unknown>,
  string,
  RegExp,
])[] = [
  [
    "an identity key that others can read",
    (f) => chmod(join(f.path, "identity.pem"), 0o640),
    "file-mode",
    /chmod 600/,
  ],
  [
    "a sealing key that others can read",
    (f) => chmod(join(f.path, "sealing.pem"), 0o604),
    "file-mode",
    /sealing\.pem/,
  ],
  [
    "a missing manifest",
    (f) => rm(join(f.path, "manifest.cbor")),
    "file-missing",
    /manifest\.cbor cannot be read/,
  ],
  ["a missing key", (f) => rm(join(f.path, "identity.pem")), "file-missing", /identity\.pem cannot be read/],
  [
    "a manifest that is no CBOR",
    (f) => f.write("manifest.cbor", "hello"),
    "config-invalid",
    /manifest\.cbor/,
  ],
  [
    "a manifest in another encoding of the same",
    // 0xb9 0x0002: a map of two with a length longer than it need be.
    (f, c) =>
      f.write(
        "manifest.cbor",
        Buffer.concat([Buffer.of(0xb9, 0, 2), encodeCanonical(c.signedManifest).subarray(1)]),
      ),
    "config-invalid",
    /manifest\.cbor/,
  ],
  [
    "a manifest that an operator did not sign",
    (f, c) =>
      f.write(
        "manifest.cbor",
        encodeCanonical({ ...c.signedManifest, signatures: c.signedManifest.signatures.slice(1) }),
      ),
    "signature-invalid",
    /lacks valid signatures of 1/,
  ],
  [
    "a manifest whose content was altered",
    (f, c) =>
      f.write(
        "manifest.cbor",
        encodeCanonical({ ...c.signedManifest, manifest: { ...c.manifest, policyDelayMs: 1 } }),
      ),
    "wrong-cluster",
    /cluster id/,
  ],
  [
    "another policy than the manifest's",
    (f, c) => f.write("policy.cbor", encodeCanonical({ ...c.policy, perTransactionMaxSats: 2_000_000 })),
    "config-invalid",
    /not the policy that the manifest pins/,
  ],
  [
    "another node's identity key",
    (f, c) => f.write("identity.pem", c.identities[1]?.toPem() ?? "", 0o600),
    "config-invalid",
    /files\.identity is not the key/,
  ],
  [
    "a foreign sealing key",
    (f) => f.write("sealing.pem", SealingKey.generate().toPem(), 0o600),
    "config-invalid",
    /files\.sealing is not the key/,
  ],
  [
    "a key file of another type",
    (f) => f.write("identity.pem", SealingKey.generate().toPem(), 0o600),
    "malformed",
    /ed25519|another type/,
  ],
  [
    "a certificate of another index",
    (f, c) => {
      const member = c.manifest.members[1];
      if (member === undefined) throw new RangeError("no second member");
      const issued = issueNodeCertificate(
        c.authority,
        { cluster: c.manifest.cluster, index: member.index, identity: member.identity },
        { now: Date.now() },
        { random: systemRandom },
      );
      return f.write("certificate.pem", certificateToPem(issued));
    },
    "certificate-refused",
    /not that of node 1/,
  ],
  [
    "a certificate for another key",
    (f, c) => {
      const member = c.manifest.members[0];
      if (member === undefined) throw new RangeError("no first member");
      const issued = issueNodeCertificate(
        c.authority,
        { cluster: c.manifest.cluster, index: member.index, identity: Ed25519Signer.generate().publicKey },
        { now: Date.now() },
        { random: systemRandom },
      );
      return f.write("certificate.pem", certificateToPem(issued));
    },
    "certificate-refused",
    /key is not the one/,
  ],
  [
    "another authority",
    (f) => f.write("ca.pem", certificateToPem(testCluster().authority.certificate)),
    "certificate-refused",
    /authority is not the one/,
  ],
  ["an epoch that is no number", (f) => f.write("epoch", "-1"), "config-invalid", /epoch/],
  ["an epoch file that is missing", (f) => rm(join(f.path, "epoch")), "file-missing", /epoch/],
];

for (const [what, spoil, code, message] of cases) {
  test(`${what} is refused as ${code}`, async () => {
    await assert.rejects(read(spoil), (error: unknown) => {
      assert.ok(error instanceof CairnError, String(error));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      return true;
    });
  });
}

test("a certificate that has ended is refused", async () => {
  await assert.rejects(
    read(async () => {}, { now: Date.now() + 400 * DAY }),
    (error: unknown) => error instanceof CairnError && error.code === "certificate-expired",
  );
});
