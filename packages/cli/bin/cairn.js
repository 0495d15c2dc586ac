#!/usr/bin/env node
// The sources are TypeScript, which Node 24 runs as it is. An older Node hands over to the one that is installed beside it.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));
if (Number(process.versions.node.split(".")[0]) >= 24) {
  await import("../src/main.ts");
} else {
  const node = fileURLToPath(new URL("../../../node_modules/.bin/node", import.meta.url));
  const { status, error } = spawnSync(node, [main, ...process.argv.slice(2)], { stdio: "inherit" });
  if (error !== undefined) process.stderr.write("cairn needs Node 24 or newer; run npm install beside it\n");
  process.exitCode = status ?? 69;
}
