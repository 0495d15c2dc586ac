import assert from "node:assert/strict";
import { test } from "node:test";
import { staleDocs, undescribedFields } from "../generate-docs.ts";

test("documents hold what the code makes now", async () => {
  assert.deepEqual(await staleDocs(), []);
});

test("a field that its section's table leaves out is named, and so is an example that is not shown", () => {
  const page = [
    "### Vote",
    "| field | type |",
    "|---|---|",
    "| `voter` | node |",
    "<!-- generated: example vote -->",
    "<!-- end -->",
    "### Other",
    "| `round` | integer |",
  ].join("\n");
  const problems = undescribedFields(page, {
    vote: { body: { voter: 1, round: 1 } },
    void: { body: { node: 1 } },
    "grant-id": { body: "00" },
  });
  assert.equal(problems.length, 3);
  assert.match(problems[0] ?? "", /"vote" has a field `round`/);
  assert.match(problems[1] ?? "", /"void" is not shown/);
});
