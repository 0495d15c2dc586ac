import assert from "node:assert/strict";
import { test } from "node:test";
import { anchorOf, checkDocs } from "../check-docs.ts";
import { temporaryRepository } from "./temporary-repository.ts";

const makefile = "build: setup ## x\n\ttrue\n";
const slash = "/";

test("accepts links, anchors, targets and scripts that exist", (t) => {
  const root = temporaryRepository(t, {
    Makefile: makefile,
    "package.json": { scripts: { "test:long": "x" } },
    "README.md": [
      "# A `b` c",
      "[x](docs/x.md#part-two) [top](#a-b-c) [web](https://example.org) [folder](docs)",
      "Run `make build`, `make FOO=1 build` or `npm run test:long`. It does make sense.",
      "```sh\nmake build\n[not](a-link)\n```",
    ].join("\n"),
    "docs/x.md": "## Part two\n[up](../README.md)\n",
  });
  assert.deepEqual(checkDocs(root).problems, []);
});

const violations: [string, Record<string, string | object>, RegExp][] = [
  ["a link to a missing file", { "a.md": "[x](missing.md)" }, /missing\.md": no such file/],
  ["a link to a missing heading", { "a.md": "# One\n[x](#two)" }, /no such heading/],
  ["a reference link to a missing file", { "a.md": "[x][1]\n\n[1]: missing.md" }, /no such file/],
  ["a link out of the repository", { "a.md": "[x](../other.md)" }, /leaves the repository/],
  ["a make target that does not exist", { Makefile: makefile, "a.md": "`make coffee`" }, /"make coffee"/],
  [
    "a make target in a block that does not exist",
    { Makefile: makefile, "a.md": "```\nmake build && make tea\n```" },
    /"make tea"/,
  ],
  ["a script that does not exist", { "package.json": {}, "a.md": "`npm run nothing`" }, /npm run nothing/],
  [
    "a package that says nothing about itself",
    { "packages/x/package.json": { name: "x" } },
    /say in one line/,
  ],
  ["a registry's host", { "a.md": `see registry.npmjs${"."}org` }, /a\.md:1: .*registry's host/],
  [
    "a path of one machine in code",
    { "a.ts": `\nconst a = "${slash}work/main";` },
    /a\.ts:2: .*path of one machine/,
  ],
  ["a path of one machine in a script", { "a.sh": `cd ${slash}root/x` }, /path of one machine/],
];
for (const [name, files, expected] of violations) {
  test(`refuses ${name}`, (t) => {
    const { problems } = checkDocs(temporaryRepository(t, files));
    assert.equal(problems.length, 1, problems.join("\n"));
    assert.match(problems[0] ?? "", expected);
  });
}

test("paths that only end alike are no machine's", (t) => {
  const root = temporaryRepository(t, {
    "a.ts": `const a = "packages/work/x", b = "./tmp/y", c = \`\${dir}/tmp/z\`;`,
  });
  assert.deepEqual(checkDocs(root).problems, []);
});

test("anchors are made as code hosts make them", () => {
  assert.equal(anchorOf("5. From request to confirmed!"), "5-from-request-to-confirmed");
  assert.equal(anchorOf("[Link](x.md) & more"), "link--more");
});
