import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isCairnError } from "@cairn/core";
import { makePrivateFolder, readKeyFile, replacePublicFile, writeKeyFile } from "../src/index.ts";

async function folder(run: (path: string) => Promise<void>): Promise<void> {
  const path = await mkdtemp(join(tmpdir(), "cairn-pki-"));
  try {
    await run(path);
  } finally {
    await rm(path, { recursive: true, force: true });
  }
}

const mode = async (path: string) => (await stat(path)).mode & 0o777;

test("key files are for their owner alone and are never overwritten", () =>
  folder(async (path) => {
    const keys = join(path, "keys");
    await makePrivateFolder(keys);
    const file = join(keys, "node.key");
    await writeKeyFile(file, Buffer.from("secret"));
    assert.equal(await mode(keys), 0o700);
    assert.equal(await mode(file), 0o600);
    assert.equal(Buffer.from(await readKeyFile(file)).toString(), "secret");
    await assert.rejects(writeKeyFile(file, Buffer.from("other")), (e) => isCairnError(e, "file-exists"));
    assert.equal(await readFile(file, "utf8"), "secret");
  }));

test("key files and folders that others can reach are refused", () =>
  folder(async (path) => {
    const file = join(path, "node.key");
    await writeKeyFile(file, Buffer.from("secret"));
    await chmod(file, 0o640);
    await assert.rejects(readKeyFile(file), (e) => isCairnError(e, "file-mode"));
    await assert.rejects(readKeyFile(join(path, "none")), (e) => isCairnError(e, "file-missing"));
    await chmod(path, 0o755);
    await assert.rejects(makePrivateFolder(path), (e) => isCairnError(e, "file-mode"));
  }));

test("a public file is replaced as a whole", () =>
  folder(async (path) => {
    const file = join(path, "node.crt");
    await replacePublicFile(file, Buffer.from("one"));
    await replacePublicFile(file, Buffer.from("two"));
    assert.equal(await readFile(file, "utf8"), "two");
    assert.equal(await mode(file), 0o644);
  }));
