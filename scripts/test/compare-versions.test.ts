import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compareVersions } from "../compare-versions.ts";

test("orders versions as semver.org §11 does", () => {
  const ascending = [
    "0.6.3",
    "0.7.0-alpha.1",
    "0.7.0-alpha.2",
    "0.7.0-alpha.10",
    "0.7.0-alpha.beta",
    "0.7.0-beta",
    "0.7.0",
    "0.10.0",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0",
  ];
  for (const [i, a] of ascending.entries())
    for (const [j, b] of ascending.entries())
      assert.equal(Math.sign(compareVersions(a, b)), Math.sign(i - j), `${a} and ${b}`);
});

test("ignores build metadata", () => {
  assert.equal(compareVersions("1.2.3+x", "1.2.3"), 0);
  assert.ok(compareVersions("1.7.1+6.3.0-rc", "1.7.0") > 0);
});

test("is antisymmetric", () => {
  const version = fc
    .tuple(fc.nat(20), fc.nat(20), fc.nat(20), fc.constantFrom("", "-alpha.1", "-alpha.2", "-rc"))
    .map(([a, b, c, pre]) => `${a}.${b}.${c}${pre}`);
  fc.assert(
    fc.property(
      version,
      version,
      (a, b) => Math.sign(compareVersions(a, b)) === -Math.sign(compareVersions(b, a)) || a === b,
    ),
  );
});
