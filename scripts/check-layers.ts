import { existsSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, posix } from "node:path";
import { entriesField, textField } from "./field.ts";
import { listFiles } from "./list-files.ts";
import { readImports } from "./read-imports.ts";
import { type Findings, runCheck } from "./run-check.ts";

const PURE = ["core", "policy", "bitcoin", "consensus", "signing"];
const NODE = [...PURE, "runtime", "engine", "storage", "transport", "pki", "client"];

/** Which packages each package may import: the table of rooms. `import type` counts. */
export const layers: Record<string, readonly string[]> = {
  core: [],
  policy: ["core"],
  bitcoin: ["core"],
  consensus: ["core"],
  signing: ["core", "consensus"],
  runtime: PURE,
  engine: ["core", "signing"],
  storage: ["core"],
  transport: ["core", "pki"],
  pki: ["core"],
  client: ["core"],
  node: NODE,
  coordinator: NODE,
  cli: ["client", "core", "bitcoin", "consensus", "pki"],
  console: ["client", "core"],
  devnet: [...NODE, "node", "coordinator", "cli", "simulation"],
  // Storage and transport for their in-memory twins.
  simulation: [...PURE, "runtime", "engine", "storage", "transport", "pki"],
};

/** Which package may load each native crate's library, by path or as `@cairn/native-<crate>`. Tests of any package may use Bitcoin Core's script checks. */
const nativeOwners: Record<string, string> = { engine: "engine", script: "devnet", quic: "transport" };

/** What tests of several packages share: `packages/<name>/test-support`, or `@cairn/<name>/test-support`. */
const TEST_SUPPORT = /(^|\/)test-support(\/|$)/;

/** Packages that test others and never run beside a key of value: they may use what tests share. */
const TESTING = ["simulation", "devnet"];

/** Verifies that every package imports only what its package.json lists, and lists only what the table allows. */
export function checkLayers(root: string): Findings {
  const problems: string[] = [];
  const rootTools = entriesField(readJson(join(root, "package.json")), "devDependencies").map(
    ([name]) => name,
  );
  const manifests = listFiles(root, (path) => /^packages\/[^/]+\/package\.json$/.test(path));
  for (const manifest of manifests) {
    const folder = dirname(manifest);
    const short = posix.basename(folder);
    const text = readJson(join(root, manifest));
    const allowed = layers[short];
    if (textField(text, "name") !== `@cairn/${short}`)
      problems.push(`${manifest}: the name must be @cairn/${short}`);
    if (allowed === undefined) {
      problems.push(
        `${manifest}: package "${short}" is not in the table of rooms (scripts/check-layers.ts): add it there first`,
      );
      continue;
    }
    const runtime = [
      ...entriesField(text, "dependencies"),
      ...entriesField(text, "optionalDependencies"),
    ].map(([name]) => name);
    const forTests = entriesField(text, "devDependencies").map(([name]) => name);
    for (const name of [...runtime, ...forTests]) {
      if (!name.startsWith("@cairn/")) continue;
      const sibling = name.slice("@cairn/".length);
      const crate = /^native-(.+)$/.exec(sibling)?.[1];
      if (crate === undefined ? !allowed.includes(sibling) : nativeOwners[crate] !== short)
        problems.push(
          `${manifest}: ${short} may not depend on ${name}; it may on: ${allowed.join(", ") || "nothing"}`,
        );
    }
    const own = `@cairn/${short}`;
    const sources = listFiles(join(root, folder), (path) =>
      /^(src|bin|test|test-support|build)\/.*\.[cm]?[jt]sx?$|^[^/]*\.[cm]?[jt]sx?$/.test(path),
    );
    for (const source of sources) {
      const inTest = !/^(src|bin)\//.test(source);
      const mayImport = new Set([own, ...runtime, ...(inTest ? [...forTests, ...rootTools] : [])]);
      problems.push(...checkSource({ root, folder, short, source, inTest, mayImport }));
    }
  }
  return { problems };
}

type Source = {
  root: string;
  folder: string;
  short: string;
  source: string;
  inTest: boolean;
  mayImport: Set<string>;
};

function checkSource({ root, folder, short, source, inTest, mayImport }: Source): string[] {
  const problems: string[] = [];
  const path = `${folder}/${source}`;
  const { imports, strings } = readImports(readFileSync(join(root, path), "utf8"));
  for (const { specifier, line } of imports) {
    const where = `${path}:${line}`;
    if (specifier === undefined) {
      // Only a package that owns a native library has a reason to load a computed path.
      if (!Object.values(nativeOwners).includes(short) && !inTest)
        problems.push(`${where}: an import that is not a plain string can't be checked: name the module`);
    } else if (!inTest && !TESTING.includes(short) && TEST_SUPPORT.test(specifier)) {
      problems.push(`${where}: "${specifier}" is for tests: production code may not import it`);
    } else if (specifier.startsWith(".")) {
      const target = posix.normalize(posix.join(posix.dirname(path), specifier));
      if (!target.startsWith(`${folder}/`) && !target.startsWith("native/"))
        problems.push(`${where}: "${specifier}" leaves the package: import @cairn/… instead`);
    } else if (!isBuiltin(specifier)) {
      const name = packageOf(specifier);
      if (!mayImport.has(name))
        problems.push(`${where}: imports ${name}, which ${folder}/package.json does not list`);
    } else if (!specifier.startsWith("node:")) {
      problems.push(`${where}: write "node:${specifier}"`);
    }
  }
  for (const { specifier, line } of strings) {
    const crate = /(?:^|\/)native\/([a-z-]+)(?:\/|$)|^(?:.*\/)?cairn-([a-z]+)(?:-reduced)?\.node$/.exec(
      specifier ?? "",
    );
    const name = crate?.[1] ?? crate?.[2];
    if (name === undefined || nativeOwners[name] === short || (inTest && name === "script")) continue;
    const owner = nativeOwners[name];
    problems.push(
      `${path}:${line}: "${specifier}" reaches into native/${name}: ${owner === undefined ? "no package" : `only ${owner}`} may`,
    );
  }
  return problems;
}

function packageOf(specifier: string): string {
  const [first = "", second = ""] = specifier.split("/");
  return first.startsWith("@") ? `${first}/${second}` : first;
}

function readJson(path: string): unknown {
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
}

await runCheck(import.meta.url, "layers", checkLayers);
