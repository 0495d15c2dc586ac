import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { checkLayers, layers } from "../check-layers.ts";
import { temporaryRepository } from "./temporary-repository.ts";

const core = { name: "@cairn/core", dependencies: { zod: "4.0.0" } };
const policy = { name: "@cairn/policy", dependencies: { "@cairn/core": "0.1.0" } };
const rootManifest = { devDependencies: { "fast-check": "4.0.0" } };

test("accepts imports that the package lists and the table allows", (t) => {
  const root = temporaryRepository(t, {
    "package.json": rootManifest,
    "packages/core/package.json": core,
    "packages/core/src/a.ts": 'import { z } from "zod"; import { b } from "./b.ts"; import "node:crypto";',
    "packages/core/test/a.test.ts": 'import fc from "fast-check"; import { b } from "../src/b.ts";',
    "packages/policy/package.json": policy,
    "packages/policy/src/a.ts": 'import type { Id } from "@cairn/core";',
    "packages/policy/test/a.test.ts": 'import { x } from "@cairn/policy";',
    "packages/policy/test/b.test.ts": 'import { c } from "@cairn/core/test-support";',
    "packages/simulation/package.json": {
      name: "@cairn/simulation",
      dependencies: { "@cairn/core": "0.1.0" },
    },
    "packages/simulation/src/a.ts": 'import { c } from "@cairn/core/test-support";',
    "packages/core/test-support/c.ts": 'import fc from "fast-check"; import { b } from "../src/b.ts";',
  });
  assert.deepEqual(checkLayers(root).problems, []);
});

const violations: [string, Record<string, string | object>, RegExp][] = [
  [
    "an import that package.json does not list",
    { "packages/core/package.json": core, "packages/core/src/a.ts": 'import pino from "pino";' },
    /core\/src\/a\.ts:1: imports pino/,
  ],
  [
    "a type-only import of an unlisted package",
    {
      "packages/core/package.json": core,
      "packages/core/src/a.ts": '\nimport type { P } from "@cairn/policy";',
    },
    /a\.ts:2: imports @cairn\/policy/,
  ],
  [
    "a dynamic import of an unlisted package",
    { "packages/core/package.json": core, "packages/core/src/a.ts": 'await import("pino/file");' },
    /imports pino/,
  ],
  [
    "a tool of the root used outside tests",
    {
      "package.json": rootManifest,
      "packages/core/package.json": core,
      "packages/core/src/a.ts": 'import fc from "fast-check";',
    },
    /imports fast-check/,
  ],
  [
    "a dependency that the table forbids",
    { "packages/core/package.json": { name: "@cairn/core", dependencies: { "@cairn/node": "0.1.0" } } },
    /core may not depend on @cairn\/node/,
  ],
  [
    "a development dependency that the table forbids",
    { "packages/core/package.json": { name: "@cairn/core", devDependencies: { "@cairn/devnet": "0.1.0" } } },
    /core may not depend on @cairn\/devnet/,
  ],
  [
    "a relative import that leaves the package",
    { "packages/core/package.json": core, "packages/core/src/a.ts": 'import "../../policy/src/index.ts";' },
    /leaves the package/,
  ],
  [
    "a test that reaches into another package",
    { "packages/core/package.json": core, "packages/core/test/a.test.ts": 'import "../../policy/src/b.ts";' },
    /leaves the package/,
  ],
  [
    "support of tests imported by production code of another package",
    {
      "packages/core/package.json": core,
      "packages/policy/package.json": policy,
      "packages/policy/src/a.ts": 'import { c } from "@cairn/core/test-support";',
    },
    /policy\/src\/a\.ts:1: "@cairn\/core\/test-support" is for tests/,
  ],
  [
    "support of tests imported by production code beside it",
    { "packages/core/package.json": core, "packages/core/src/a.ts": 'export * from "../test-support/c.ts";' },
    /core\/src\/a\.ts:1: .*is for tests/,
  ],
  [
    "support of tests that imports an unlisted package",
    { "packages/core/package.json": core, "packages/core/test-support/c.ts": 'import pino from "pino";' },
    /test-support\/c\.ts:1: imports pino/,
  ],
  [
    "an import whose module is computed",
    { "packages/core/package.json": core, "packages/core/src/a.ts": "await import(name);" },
    /not a plain string/,
  ],
  [
    "a package outside the table",
    { "packages/extra/package.json": { name: "@cairn/extra" } },
    /not in the table/,
  ],
  [
    "the native engine loaded by another package than engine",
    {
      "packages/core/package.json": core,
      "packages/core/src/a.ts": 'const path = "../../../native/engine/cairn-engine.node";',
    },
    /only engine may/,
  ],
  [
    "the native engine listed by another package than engine",
    {
      "packages/core/package.json": {
        name: "@cairn/core",
        dependencies: { "@cairn/native-engine": "0.1.0" },
      },
    },
    /core may not depend on @cairn\/native-engine/,
  ],
];
for (const [name, files, expected] of violations) {
  test(`refuses ${name}`, (t) => {
    const { problems } = checkLayers(temporaryRepository(t, files));
    assert.equal(problems.length, 1, problems.join("\n"));
    assert.match(problems[0] ?? "", expected);
  });
}

test("the table has no cycle and knows every package that exists", () => {
  const finished = new Set<string>();
  const visit = (name: string, path: string[]): void => {
    assert.ok(!path.includes(name), `cycle: ${[...path, name].join(" → ")}`);
    if (finished.has(name)) return;
    for (const next of layers[name] ?? []) visit(next, [...path, name]);
    finished.add(name);
  };
  for (const name of Object.keys(layers)) visit(name, []);
  for (const name of readdirSync(join(import.meta.dirname, "../../packages")))
    assert.ok(name in layers, name);
});
