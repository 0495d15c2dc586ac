import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { daemonLaunch } from "../src/index.ts";

test("a program that is started so leaves its compiled sources in the folder and keeps the young heap small, and may collect garbage when it rests", () => {
  const folder = mkdtempSync(join(tmpdir(), "cairn-launch-"));
  try {
    const { nodeOptions, environment } = daemonLaunch({ NODE_COMPILE_CACHE: join(folder, "compiled") });
    assert.equal(environment.NODE_COMPILE_CACHE, join(folder, "compiled"));
    const program = join(folder, "program.ts");
    // So much of what is made lives for a while that the young heap grows as far as it may.
    writeFileSync(
      program,
      `import { getHeapSpaceStatistics } from "node:v8";
const kept: number[][] = [];
for (let at = 0; at < 400_000; at += 1) kept[at % 20_000] = new Array<number>(64).fill(at);
const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space");
console.log(young?.space_size ?? 0, typeof globalThis.gc);`,
    );
    const said = execFileSync(process.execPath, [...nodeOptions, program], {
      env: { ...process.env, ...environment },
      encoding: "utf8",
    });
    const [size = "", collector] = said.trim().split(" ");
    assert.ok(Number(size) > 0 && Number(size) <= 2 * 4 * 1024 * 1024, said);
    assert.equal(collector, "function");
    assert.notEqual(readdirSync(join(folder, "compiled")).length, 0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("without a folder of one's own, compiled sources lie beside the sources", () => {
  assert.match(daemonLaunch({}).environment.NODE_COMPILE_CACHE ?? "", /\/\.cache\/compiled$/);
});
