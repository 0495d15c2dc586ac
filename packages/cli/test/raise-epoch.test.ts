import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { isCairnError } from "@cairn/core";
import { raiseEpoch } from "../src/raise-epoch.ts";
import { runCairn, temporaryFolder } from "./bench.ts";

test("the epoch rises by one in the file that cairn.toml names, and nothing else than a number is overwritten", async () => {
  const folder = await temporaryFolder();
  const config = join(folder, "cairn.toml");
  await writeFile(config, '[node]\nindex = 3\n[files]\nepoch = "my-epoch"\n');
  await assert.rejects(raiseEpoch(config), (error) => isCairnError(error, "file-missing"));
  const file = join(folder, "my-epoch");
  await writeFile(file, "9\n");
  const ran = await runCairn(["node", "raise-epoch", "--config", config, "--json"], {});
  assert.equal(ran.exit, 0, ran.stderr);
  assert.deepEqual(JSON.parse(ran.stdout), { file, from: 9, to: 10 });
  assert.equal(await readFile(file, "utf8"), "10\n");
  await writeFile(file, "ten\n");
  await assert.rejects(raiseEpoch(config), (error) => isCairnError(error, "config-invalid"));
  assert.equal(await readFile(file, "utf8"), "ten\n");
});
