import assert from "node:assert/strict";
import { test } from "node:test";
import { readImports } from "../read-imports.ts";

function specifiers(source: string): (string | undefined)[] {
  return readImports(source).imports.map(({ specifier }) => specifier);
}

test("finds every form of import, type-only ones included", () => {
  const source = `
    import a from "a";
    import type { B } from 'b';
    import { type C, d } from "c";
    import "e";
    export { f } from "f";
    export * from "g";
    export type { H } from "h";
    const i = await import("i");
    type J = import("j").J;
    const k = require("k");
    const l = import.meta.resolve("l");
  `;
  assert.deepEqual(specifiers(source), ["a", "b", "c", "e", "f", "g", "h", "i", "j", "k", "l"]);
});

test("is not misled by comments, strings, templates and regular expressions", () => {
  const source = [
    '// import "x"',
    '/* import "x" */',
    "const s = 'import \"x\"';",
    'const t = `from "x"`;',
    'const r = /from "x"|["\'`]/g;',
    'const division = a / b; import "real"; const more = c / d;',
    'Array.from("x"); const from = 1;',
    "this.#require(key);",
  ].join("\n");
  assert.deepEqual(specifiers(source), ["real"]);
});

test("reads code inside template expressions, also nested", () => {
  const source = `const t = \`a \${await import("one") } \${\`\${await import("two")}\`} {\`; import "three";`;
  assert.deepEqual(specifiers(source), ["one", "two", "three"]);
});

test("reports an import whose module is computed, with its line", () => {
  assert.deepEqual(readImports("\n\nawait import(name);").imports, [{ specifier: undefined, line: 3 }]);
});
