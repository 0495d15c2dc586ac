import { readdirSync } from "node:fs";
import { join, relative, sep } from "node:path";

const NOT_SOURCES = new Set(["node_modules", ".git", ".cache", "target", "target-reduced", "dist"]);

/**
 * Every file under `root` that people write, as sorted paths from `root` with `/`. Installed packages, build
 * output and test fixtures are left out.
 */
export function listFiles(root: string, accept: (path: string) => boolean): string[] {
  const found: string[] = [];
  const visit = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) {
        if (!NOT_SOURCES.has(entry.name) && entry.name !== "fixtures") visit(path);
      } else if (entry.isFile()) {
        const name = relative(root, path).split(sep).join("/");
        if (accept(name)) found.push(name);
      }
    }
  };
  visit(root);
  return found.sort();
}
