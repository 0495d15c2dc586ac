import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";

/** Writes the given files (path → text, or an object for JSON) into a folder that goes when the test ends. */
export function temporaryRepository(t: TestContext, files: Record<string, string | object>): string {
  const root = mkdtempSync(join(tmpdir(), "cairn-scripts-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), typeof content === "string" ? content : JSON.stringify(content));
  }
  return root;
}
