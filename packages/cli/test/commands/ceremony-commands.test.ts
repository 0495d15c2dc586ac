import assert from "node:assert/strict";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { roles } from "@cairn/client";
import {
  decodeCanonical,
  manifestHash,
  nodeConfigSchema,
  sha256Hex,
  signedManifestSchema,
  verifyGenesis,
} from "@cairn/core";
import { parse } from "smol-toml";
import { readCliConfig } from "../../src/index.ts";
import { type Ran, runCairn, temporaryFolder } from "../bench.ts";

const NAMES = ["alice", "bob", "carol"];

async function done(...words: readonly string[]): Promise<Ran> {
  const ran = await runCairn([...words, "--json"], {});
  assert.equal(ran.exit, 0, ran.stderr);
  return ran;
}

const codeOf = (ran: Ran): string => JSON.parse(ran.stderr).code;

/** Steps 1 to 3 by three operators. */
async function signedCluster(): Promise<{ folder: string; fingerprint: string; signatures: string[] }> {
  const folder = await temporaryFolder();
  const at = (...parts: string[]) => join(folder, ...parts);
  for (const name of NAMES) {
    await done("init", "node", "--folder", at(name), "--name", name, "--peer", `${name}.example:9000`);
  }
  const members = NAMES.map((name) => at(name, "member.json"));
  const drawn = await done("init", "manifest", ...members, "--folder", at("cluster"), "--network", "signet");
  const { fingerprint } = JSON.parse(drawn.stdout);
  const signatures: string[] = [];
  for (const name of NAMES) {
    const out = at(`${name}.json`);
    const words = ["--manifest", at("cluster", "public", "manifest.cbor"), "--key", at(name, "operator.pem")];
    await done("init", "sign", ...words, "--fingerprint", fingerprint, "--out", out);
    signatures.push("--signature", out);
  }
  return { folder, fingerprint, signatures };
}

const finish = (folder: string, name: string, signatures: readonly string[]) => [
  ...["init", "finish", "--folder", join(folder, name), "--bundle", join(folder, "cluster", "public")],
  ...[...signatures, "--chain", "https://esplora.example"],
];

test("three operators make a cluster, each with keys that never leave their own folder", async () => {
  const { folder, fingerprint, signatures } = await signedCluster();
  const entry = await readFile(join(folder, "alice", "member.json"), "utf8");
  assert.ok(!entry.includes("PRIVATE"));
  for (const [position, name] of NAMES.entries()) {
    const answer = JSON.parse((await done(...finish(folder, name, signatures))).stdout);
    assert.equal(answer.node, position + 1);
    assert.equal(answer.fingerprint, fingerprint);
    const own = (file: string) => join(folder, name, file);
    const signed = decodeCanonical(signedManifestSchema, await readFile(own("manifest.cbor")));
    verifyGenesis(signed);
    assert.equal(signed.manifest.threshold, 3);
    const config = nodeConfigSchema.parse(parse(await readFile(own("cairn.toml"), "utf8")));
    assert.equal(config.node.index, position + 1);
    assert.equal((await stat(own("cairn.toml"))).mode & 0o777, 0o600);
    assert.equal(await readFile(own("epoch"), "utf8"), "0\n");
    const cli = await readCliConfig(own("config.toml"));
    assert.equal(cli.manifest, manifestHash(signed.manifest));
    assert.equal(cli.operator_key, own("operator.pem"));
    assert.equal(config.api.tokens.length, roles.length);
    for (const { role, hash } of config.api.tokens) {
      const text = (await readFile(own(join("tokens", role)), "utf8")).trim();
      assert.equal(sha256Hex(Buffer.from(text)), hash);
      assert.equal((await stat(own(join("tokens", role)))).mode & 0o777, 0o600);
      assert.equal(text === cli.token, role === "admin");
    }
  }
  const again = await runCairn([...finish(folder, "alice", signatures), "--json"], {});
  assert.equal(codeOf(again), "file-exists");
});

test("finish refuses missing signatures, another node's folder, and an altered policy, CA or certificate", async () => {
  const { folder, signatures } = await signedCluster();
  const refuses = async (words: readonly string[], code: string) => {
    assert.equal(codeOf(await runCairn([...words, "--json"], {})), code);
  };
  await refuses(finish(folder, "alice", signatures.slice(2)), "signature-invalid");
  const stranger = join(folder, "mallory");
  await done("init", "node", "--folder", stranger, "--name", "mallory", "--peer", "m.example:9000");
  await refuses(finish(folder, "mallory", signatures), "not-member");
  const tampered = async (name: string, other: string, code: string) => {
    const path = join(folder, "cluster", "public", name);
    const truth = await readFile(path);
    await writeFile(path, await readFile(join(folder, "cluster", "public", other)));
    await refuses(finish(folder, "alice", signatures), code);
    await writeFile(path, truth);
  };
  await tampered("ca.pem", "node-1.pem", "certificate-refused");
  await tampered("node-1.pem", "node-2.pem", "certificate-refused");
  await tampered("policy.cbor", "manifest.cbor", "malformed");
  await done(...finish(folder, "alice", signatures));
});

test("an operator signs only the manifest whose fingerprint was read out, and only as its member", async () => {
  const { folder, fingerprint } = await signedCluster();
  const manifest = join(folder, "cluster", "public", "manifest.cbor");
  const sign = (key: string, words: string) =>
    runCairn(
      [
        "init",
        "sign",
        "--manifest",
        manifest,
        "--key",
        key,
        "--fingerprint",
        words,
        "--out",
        join(folder, "x"),
        "--json",
      ],
      {},
    );
  assert.equal(codeOf(await sign(join(folder, "alice", "operator.pem"), "0".repeat(64))), "wrong-manifest");
  assert.equal(codeOf(await sign(join(folder, "alice", "identity.pem"), fingerprint)), "not-member");
  assert.equal(codeOf(await sign(join(folder, "nobody.pem"), fingerprint)), "file-missing");
});

test("a member file that is none is named", async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "a.json"), "{");
  await writeFile(join(folder, "b.json"), "{}");
  for (const name of ["a.json", "b.json"]) {
    const ran = await runCairn(
      [
        "init",
        "manifest",
        join(folder, name),
        "--folder",
        join(folder, "c"),
        "--network",
        "signet",
        "--json",
      ],
      {},
    );
    assert.equal(codeOf(ran), "malformed");
    assert.match(ran.stderr, new RegExp(name));
  }
});
