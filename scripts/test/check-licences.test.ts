import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  cargoDependencies,
  checkLicences,
  type Dependency,
  isAllowed,
  judge,
  npmDependencies,
  thirdParty,
} from "../check-licences.ts";
import { temporaryRepository } from "./temporary-repository.ts";

const only =
  (...names: string[]) =>
  (licence: string): boolean =>
    names.includes(licence);

test("an SPDX expression needs one side of OR and both of AND", () => {
  assert.equal(isAllowed("MIT OR GPL-3.0", only("MIT")), true);
  assert.equal(isAllowed("MIT AND GPL-3.0", only("MIT")), false);
  assert.equal(isAllowed("GPL-3.0 AND MIT OR MIT", only("MIT")), true);
  assert.equal(isAllowed("(MIT OR Apache-2.0) AND Unicode-3.0", only("Apache-2.0", "Unicode-3.0")), true);
  assert.equal(isAllowed("(MIT OR Apache-2.0) AND Unicode-3.0", only("MIT")), false);
  assert.equal(isAllowed("GPL-3.0 AND (MIT OR Apache-2.0)", only("MIT")), false);
  assert.equal(isAllowed("MIT/Apache-2.0", only("Apache-2.0")), true);
  assert.equal(isAllowed("Apache-2.0 WITH LLVM-exception", only("Apache-2.0")), true);
});

test("nothing, nonsense and custom texts are not allowed", () => {
  for (const text of ["", "SEE LICENSE IN LICENSE", "UNLICENSED", "MIT GPL-3.0", "OR MIT"])
    assert.equal(isAllowed(text, only("MIT")), false, text);
});

function dependency(from: Dependency["from"], name: string, licence: string): Dependency {
  return { from, name, version: "1.0.0", licence, development: false };
}

test("LGPL is allowed for GMP's crates and for nothing else", () => {
  assert.deepEqual(judge([dependency("cargo", "rug", "LGPL-3.0+")]), []);
  assert.equal(judge([dependency("cargo", "other", "LGPL-3.0+")]).length, 1);
  assert.equal(judge([dependency("npm", "rug", "LGPL-3.0+")]).length, 1);
  assert.equal(judge([dependency("cargo", "rug", "GPL-3.0")]).length, 1);
});

test("reads dependencies of both lock files and leaves our own out", () => {
  const npm = npmDependencies({
    packages: {
      "": { name: "cairn" },
      "packages/core": { name: "@cairn/core", version: "0.1.0" },
      "node_modules/@cairn/core": { link: true },
      "node_modules/a": { version: "1.0.0", license: "MIT" },
      "node_modules/a/node_modules/@s/b": { version: "2.0.0", license: "ISC", dev: true },
    },
  });
  assert.deepEqual(
    npm.map(({ name, development }) => [name, development]),
    [
      ["a", false],
      ["@s/b", true],
    ],
  );
  const cargo = cargoDependencies({
    packages: [
      { name: "cairn-engine", version: "0.1.0", source: null, license: "MIT" },
      { name: "rug", version: "1.0.0", source: "registry", license: "LGPL-3.0+" },
      { name: "nameless", version: "1.0.0", source: "registry", license: null },
    ],
  });
  assert.deepEqual(
    cargo.map(({ name, licence }) => [name, licence]),
    [
      ["rug", "LGPL-3.0+"],
      ["nameless", ""],
    ],
  );
});

test("fails on a forbidden licence and on a stale THIRD_PARTY.md, and writes the right one", (t) => {
  const lock = { packages: { "node_modules/a": { version: "1.0.0", license: "GPL-3.0" } } };
  const root = temporaryRepository(t, { "package-lock.json": lock });
  const { problems } = checkLicences(root, { write: false });
  assert.equal(problems.length, 2);
  assert.match(problems[0] ?? "", /a 1\.0\.0 has the licence "GPL-3\.0"/);
  assert.match(problems[1] ?? "", /make licences/);
  assert.equal(checkLicences(root, { write: true }).problems.length, 1);
  assert.equal(checkLicences(root, { write: false }).problems.length, 1);
  assert.match(readFileSync(join(root, "THIRD_PARTY.md"), "utf8"), /\| a \| 1\.0\.0 \| GPL-3\.0 \|/);
});

test("the written file names GMP and lists a package once", () => {
  const text = thirdParty([dependency("npm", "a", "MIT"), dependency("npm", "a", "MIT")]);
  assert.match(text, /GMP is under LGPL/);
  assert.equal(text.split("| a | 1.0.0 | MIT |").length, 2);
});
