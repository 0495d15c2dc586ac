import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { until } from "../../src/cluster/until.ts";

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test("nodes end with the process that started them, even when it is killed", async () => {
  const script = fileURLToPath(new URL("fixtures/starting-child.ts", import.meta.url));
  const dir = await mkdtemp(join(tmpdir(), "cairn-orphans-"));
  // Whoever is killed removes nothing: its temporary files go with this folder.
  const env = { ...process.env, TMPDIR: dir };
  const parent = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"], env });
  try {
    const [line]: unknown[] = await once(parent.stdout, "data");
    const pids = z
      .array(z.number())
      .length(5)
      .parse(JSON.parse(String(line)));
    assert.ok(pids.every(alive));
    parent.kill("SIGKILL");
    await until(() => (pids.some(alive) ? null : true), {
      timeoutMs: 10_000,
      describe: () => `still running: ${pids.filter(alive)}`,
    });
  } finally {
    parent.kill("SIGKILL");
    await rm(dir, { recursive: true, force: true });
  }
});
