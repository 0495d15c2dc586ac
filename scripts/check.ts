/**
 * Runs every check of the house, one line each, and prints as its last line `N passed, N failed`.
 *
 *   node scripts/check.ts [name…]      only the named ones
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const node = process.execPath;
const script = (name: string): string[] => [node, join(import.meta.dirname, `check-${name}.ts`)];
const native = join(root, "native");
const bin = join(root, "node_modules", ".bin");

const checks: { name: string; command: string[]; cwd?: string }[] = [
  { name: "format and lint", command: [node, join(bin, "biome"), "check", "--error-on-warnings"] },
  { name: "types", command: [node, join(bin, "tsc"), "-p", "tsconfig.json"] },
  { name: "layers", command: script("layers") },
  { name: "docs", command: script("docs") },
  { name: "licences", command: script("licences") },
  { name: "advisories", command: script("advisories") },
  { name: "rust format", command: ["cargo", "fmt", "--all", "--check"], cwd: native },
  {
    // The release profile shares its build scripts' work (GMP, Bitcoin Core's script checks) with the build.
    name: "rust lint",
    command: [
      "cargo",
      "clippy",
      "--release",
      "--locked",
      "--workspace",
      "--all-targets",
      "-q",
      "--",
      "-Dwarnings",
    ],
    cwd: native,
  },
];

const chosen = process.argv.slice(2);
for (const name of chosen) {
  if (checks.some((check) => check.name === name)) continue;
  console.log(`There is no check "${name}": one of ${checks.map((check) => check.name).join(", ")}.`);
  process.exit(2);
}

let passed = 0;
let failed = 0;
for (const { name, command, cwd = root } of checks) {
  if (chosen.length > 0 && !chosen.includes(name)) continue;
  const started = performance.now();
  const [program = "", ...args] = command;
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = [stdout, stderr, error?.message].join("\n").trim();
  const ok = status === 0;
  if (ok) passed += 1;
  else failed += 1;
  const isOurs = command[1]?.endsWith(".ts") ?? false;
  if (output !== "" && (!ok || isOurs)) console.log(output.replaceAll(/^/gm, "    "));
  console.log(`${ok ? "ok  " : "FAIL"} ${name}  ${((performance.now() - started) / 1000).toFixed(1)} s`);
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
