import assert from "node:assert/strict";
import { chmod, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { isCairnError, parseShape } from "@cairn/core";
import {
  type CliConfig,
  cliConfigPath,
  cliConfigSchema,
  readCliConfig,
  writeCliConfig,
} from "../src/index.ts";
import { temporaryFolder } from "./bench.ts";

const config: CliConfig = parseShape(cliConfigSchema, {
  endpoints: ["http://127.0.0.1:8080"],
  token: "s3cret-token",
  cluster: "a".repeat(64),
  manifest: "b".repeat(64),
  requester_key: "keys/requester.pem",
});

test("the flag comes before CAIRN_CONFIG, that before XDG_CONFIG_HOME, and that before ~/.config", () => {
  const environment = { CAIRN_CONFIG: "/env/c.toml", XDG_CONFIG_HOME: "/xdg", HOME: "/home/me" };
  assert.equal(cliConfigPath("/flag.toml", environment), "/flag.toml");
  assert.equal(cliConfigPath(undefined, environment), "/env/c.toml");
  assert.equal(cliConfigPath(undefined, { ...environment, CAIRN_CONFIG: "" }), "/xdg/cairn/config.toml");
  assert.equal(cliConfigPath(undefined, { HOME: "/home/me" }), "/home/me/.config/cairn/config.toml");
});

test("it is written with mode 0600 in a folder of 0700, in one step, and read back with absolute key files", async () => {
  const folder = await temporaryFolder();
  const path = join(folder, "cairn", "config.toml");
  await writeCliConfig(path, { ...config, approver_key: "ann.pem" }, { replace: false });
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await stat(join(folder, "cairn"))).mode & 0o777, 0o700);
  assert.deepEqual(await readdir(join(folder, "cairn")), ["config.toml"]);
  assert.deepEqual(await readCliConfig(path), {
    ...config,
    requester_key: join(folder, "cairn", "keys", "requester.pem"),
    approver_key: join(folder, "cairn", "ann.pem"),
    operator_key: undefined,
  });
});

test("it is replaced only on request, and stays 0600", async () => {
  const path = join(await temporaryFolder(), "config.toml");
  await writeCliConfig(path, config, { replace: false });
  await assert.rejects(writeCliConfig(path, config, { replace: false }), (error) =>
    isCairnError(error, "file-exists"),
  );
  await writeCliConfig(path, { ...config, endpoints: ["https://other.example"] }, { replace: true });
  assert.deepEqual((await readCliConfig(path)).endpoints, ["https://other.example"]);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

test("one that others can read is refused", async () => {
  const path = join(await temporaryFolder(), "config.toml");
  await writeCliConfig(path, config, { replace: false });
  await chmod(path, 0o640);
  await assert.rejects(readCliConfig(path), (error) => isCairnError(error, "file-mode"));
});

test("what is wrong in it is named, and the token is not", async () => {
  const path = join(await temporaryFolder(), "config.toml");
  await writeCliConfig(path, config, { replace: false });
  const text = await readFile(path, "utf8");
  const broken: readonly (readonly [string, RegExp])[] = [
    [text.replace('token = "s3cret-token"', 'token = "s3cret-token'), /not valid TOML: line \d+, column \d+/],
    [text.replace("http://127.0.0.1:8080", "ftp://127.0.0.1"), /endpoints/],
    [`${text}\nsurprise = "s3cret-token"\n`, /surprise/],
    [text.replace("b".repeat(64), "b".repeat(63)), /manifest/],
  ];
  for (const [change, message] of broken) {
    await writeFile(path, change);
    await assert.rejects(readCliConfig(path), (error) => {
      assert.ok(isCairnError(error, "config-invalid"));
      assert.match(error.message, message);
      assert.ok(!error.message.includes("s3cret"));
      return true;
    });
  }
  await assert.rejects(readCliConfig(join(path, "..", "none.toml")), (error) =>
    isCairnError(error, "file-missing"),
  );
});
