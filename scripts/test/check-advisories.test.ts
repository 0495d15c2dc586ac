import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { checkFloors, checkPins } from "../check-advisories.ts";
import { temporaryRepository } from "./temporary-repository.ts";

const floors: unknown = JSON.parse(
  readFileSync(join(import.meta.dirname, "../advisory-floors.json"), "utf8"),
);
// Put together here, so that searching the sources for the feature finds only real uses.
const insecure = ["insecure", "assume-preimage-known"].join("-");

function cargoLock(name: string, version: string): string {
  return `version = 4\n\n[[package]]\nname = "${name}"\nversion = "${version}"\n\n[[package]]\nname = "other"\nversion = "1.0.0"\n`;
}

test("refuses cggmp24 without the fix of CVE-2025-66016", (t) => {
  for (const version of ["0.7.0-alpha.1", "0.6.3"]) {
    const root = temporaryRepository(t, { "native/Cargo.lock": cargoLock("cggmp24", version) });
    const problems = checkFloors(root, floors);
    assert.equal(problems.length, 1, version);
    assert.match(problems[0] ?? "", /CVE-2025-66016/);
  }
});

test("accepts cggmp24 from the fix on", (t) => {
  for (const version of ["0.7.0-alpha.2", "0.7.0-alpha.3", "0.7.0"]) {
    const root = temporaryRepository(t, { "native/Cargo.lock": cargoLock("cggmp24", version) });
    assert.deepEqual(checkFloors(root, floors), [], version);
  }
});

test("refuses a banned crate at any version", (t) => {
  const root = temporaryRepository(t, { "native/Cargo.lock": cargoLock("cggmp21", "99.0.0") });
  assert.match(checkFloors(root, floors)[0] ?? "", /cggmp21 99\.0\.0 must not be used/);
});

test("refuses an old npm package, also a nested one", (t) => {
  const root = temporaryRepository(t, {
    "package-lock.json": {
      packages: {
        "node_modules/a/node_modules/fastify": { version: "5.3.1" },
        "node_modules/b": { version: "1.0.0" },
      },
    },
  });
  const problems = checkFloors(root, floors);
  assert.equal(problems.length, 1);
  assert.match(problems[0] ?? "", /fastify 5\.3\.1 must be at least 5\.3\.2/);
});

test("bans the feature of CVE-2025-66017 wherever it could be switched on", (t) => {
  for (const place of [
    "native/engine/Cargo.toml",
    "native/.cargo/config.toml",
    "scripts/build-native.sh",
    "Makefile",
    ".ci/run",
  ]) {
    const root = temporaryRepository(t, { [place]: `features = ["${insecure}"]\n` });
    const problems = checkFloors(root, floors);
    assert.equal(problems.length, 1, place);
    assert.match(problems[0] ?? "", /CVE-2025-66017/);
  }
});

test("a comment that warns of the feature is no use of it", (t) => {
  const root = temporaryRepository(t, { "native/engine/Cargo.toml": `# never ${insecure}\n[features]\n` });
  assert.deepEqual(checkFloors(root, floors), []);
});

test("a rule without floor or ban is refused rather than ignored", (t) => {
  const root = temporaryRepository(t, { "native/Cargo.lock": cargoLock("x", "1.0.0") });
  assert.throws(() => checkFloors(root, { cargo: [{ name: "x" }] }), /needs a name/);
});

test("refuses a dependency that is not pinned to one version", (t) => {
  const root = temporaryRepository(t, {
    "packages/core/package.json": {
      dependencies: { a: "1.0.0", b: "^1.0.0" },
      devDependencies: { c: "latest" },
    },
  });
  assert.deepEqual(
    checkPins(root).map((problem) => /: (\w) /.exec(problem)?.[1]),
    ["b", "c"],
  );
});
