import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { temporaryRepository } from "./temporary-repository.ts";

const NODE = "24.0.1";

/** The tools of a machine that has everything; each is a stand-in that prints what setup asks it for. */
const complete: Record<string, string> = {
  node: 'if [ "$1" = --version ]; then echo v20.1.0; fi',
  npm: `echo "npm $*" >>calls.txt; mkdir -p node_modules/.bin; printf '#!/bin/sh\\necho v${NODE}\\n' >node_modules/.bin/node; chmod +x node_modules/.bin/node`,
  rustc: 'echo "rustc 1.95.0 (x 2026-01-01)"',
  cargo: ":",
  "cargo-clippy": ":",
  rustfmt: ":",
  cc: ":",
  "c++": ":",
  make: ":",
  m4: ":",
  script: ":",
  diff: ":",
  git: ":",
  id: "echo 0",
  uname: 'if [ "$1" = -m ]; then echo x86_64; else echo Linux; fi',
  "apt-get": 'echo "apt-get $*" >>calls.txt',
};

/** Runs setup on a machine with only these tools; an undefined one is missing. */
function setUp(t: TestContext, differences: Record<string, string | undefined>, ...args: string[]) {
  const root = temporaryRepository(t, {
    "package.json": `{\n  "devDependencies": {\n    "node": "${NODE}"\n  }\n}\n`,
    "package-lock.json": { packages: {} },
  });
  const bin = join(root, "bin");
  mkdirSync(bin);
  mkdirSync(join(root, "scripts"));
  copyFileSync(join(import.meta.dirname, "../setup.sh"), join(root, "scripts/setup.sh"));
  for (const [name, script] of Object.entries({ ...complete, ...differences })) {
    if (script === undefined) continue;
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(bin, name), 0o755);
  }
  for (const name of ["sh", "sed", "awk", "tr", "dirname", "cut", "mkdir", "chmod"]) {
    const found = ["/usr/bin", "/bin"].map((folder) => join(folder, name)).find((path) => existsSync(path));
    assert.ok(found !== undefined, `${name} is needed by this test`);
    symlinkSync(found, join(bin, name));
  }
  const { status, stdout, stderr } = spawnSync(join(bin, "sh"), [join(root, "scripts/setup.sh"), ...args], {
    encoding: "utf8",
    env: { PATH: bin, HOME: root },
  });
  const calls = existsSync(join(root, "calls.txt")) ? readFileSync(join(root, "calls.txt"), "utf8") : "";
  return { status, stdout, stderr, calls };
}

const bare = {
  node: undefined,
  npm: undefined,
  rustc: undefined,
  cargo: undefined,
  cc: undefined,
  m4: undefined,
};

test("a bare machine: names all that is missing with its command, and changes nothing", (t) => {
  const { status, stderr, calls } = setUp(t, { ...bare, id: "echo 1000" });
  assert.equal(status, 1);
  assert.match(
    stderr,
    /Node\.js 20 or newer with npm \(found: none\)\n +curl .*node-v24\.0\.1-linux-x64\.tar\.gz \| sudo tar/,
  );
  assert.match(stderr, /Rust 1\.88 or newer \(found: none\)\n +curl .*rustup/);
  assert.match(stderr, /sudo apt-get update && sudo apt-get install -y build-essential m4\n/);
  assert.equal(calls, "");
});

test("root on Debian without Rust: nothing is installed before the rest is there", (t) => {
  const { status, stderr, calls } = setUp(t, { rustc: undefined, m4: undefined });
  assert.equal(status, 1);
  assert.match(stderr, /rustup/);
  assert.match(stderr, /system packages m4 are installed by this script/);
  assert.equal(calls, "");
});

test("root on Debian where only packages of Debian are missing: installs them, then the npm packages", (t) => {
  const { status, stderr, calls } = setUp(t, { m4: undefined, make: undefined });
  assert.equal(status, 0, stderr);
  assert.deepEqual(
    calls
      .trim()
      .split("\n")
      .map((call) => call.replaceAll(/ --?[\w=-]+/g, "")),
    ["apt-get update", "apt-get install build-essential m4", "npm ci"],
  );
});

test("old tools are named with what was found", (t) => {
  const { status, stderr } = setUp(t, {
    node: "echo v18.20.0",
    rustc: 'echo "rustc 1.87.0 (x)"',
    rustup: ":",
  });
  assert.equal(status, 1);
  assert.match(stderr, /Node\.js 20 or newer with npm \(found: v18\.20\.0\)/);
  assert.match(stderr, /Rust 1\.88 or newer \(found: 1\.87\.0\)\n +rustup update stable/);
});

test("a stand-in compiler that does not run counts as missing", (t) => {
  const { status, stderr } = setUp(t, { cc: "exit 1", uname: "echo Darwin", "apt-get": undefined });
  assert.equal(status, 1);
  assert.match(stderr, /xcode-select --install/);
});

test("--check installs nothing", (t) => {
  const ready = setUp(t, {}, "--check");
  assert.equal(ready.status, 0, ready.stderr);
  const lacking = setUp(t, { m4: undefined }, "--check");
  assert.equal(lacking.status, 1);
  assert.match(lacking.stderr, /apt-get install -y m4/);
  assert.equal(ready.calls + lacking.calls, "");
});

test("says so when the pinned Node did not arrive with the npm packages", (t) => {
  const { status, stderr } = setUp(t, { npm: ":" });
  assert.equal(status, 1);
  assert.match(stderr, /is not Node 24\.0\.1[\s\S]*ignore-scripts/);
});
