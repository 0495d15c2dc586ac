import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Counts } from "./test-ledger.ts";

/**
 * Sums the output of `cargo test`. A Rust test may be left to the long tier by `#[ignore = "long"]`; any other
 * ignored test counts as failed. `problems` names what failed.
 */
export function readCargoTests(output: string): Counts & { problems: string[] } {
  let passed = 0;
  const problems: string[] = [];
  for (const line of output.split("\n")) {
    const [, name, verdict] = /^test (.+?) \.\.\. (.*)$/.exec(line) ?? [];
    if (name === undefined || verdict === undefined) continue;
    if (verdict === "ok") passed += 1;
    else if (verdict === "ignored, long") continue;
    else problems.push(`${name}: ${verdict}`);
  }
  return { passed, failed: problems.length, problems };
}

/** Runs the Rust tests of one tier with the profile of the release build, so that dependencies are compiled once. */
export function runCargoTests(root: string, tier: "fast" | "long", print: (line: string) => void): Counts {
  const native = join(root, "native");
  if (!existsSync(join(native, "Cargo.toml"))) return { passed: 0, failed: 0 };
  const started = performance.now();
  const args = ["test", "--release", "--locked", "--workspace", "--no-fail-fast", "--lib", "--tests"];
  // One line a test, whole: the pretty format of a single thread never interleaves a test's own output.
  const harness = ["--", "--test-threads=2", ...(tier === "long" ? ["--ignored"] : [])];
  const child = spawnSync("cargo", [...args, ...harness], {
    cwd: native,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const counts = readCargoTests(child.stdout ?? "");
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  // A build that breaks prints no test line at all, and a crash ends without its own: the exit code speaks for both.
  const broken = child.status !== 0 && counts.failed === 0 ? 1 : 0;
  if (counts.failed + broken > 0) {
    print(`FAIL native: ${counts.problems.join("; ") || (child.error?.message ?? "cargo test failed")}`);
    print(`${child.stdout ?? ""}${child.stderr ?? ""}`.replaceAll(/^/gm, "    "));
  }
  print(
    `${counts.failed + broken === 0 ? "ok  " : "FAIL"} native (cargo test)  ${counts.passed} passed  ${seconds} s`,
  );
  return { passed: counts.passed, failed: counts.failed + broken };
}
