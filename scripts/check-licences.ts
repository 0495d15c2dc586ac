import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { entriesField, field, textField } from "./field.ts";
import { type Findings, runCheck } from "./run-check.ts";

const ALLOWED = new Set(
  "MIT MIT-0 Apache-2.0 BSD-2-Clause BSD-3-Clause ISC MPL-2.0 0BSD Unlicense CC0-1.0 Zlib Unicode-3.0 BlueOak-1.0.0".split(
    " ",
  ),
);
const LGPL = new Set(["LGPL-3.0+", "LGPL-3.0-or-later", "LGPL-3.0-only"]);
/** The only crates that may be LGPL: GMP and its Rust interface. */
const MAY_BE_LGPL = new Set(["rug", "gmp-mpfr-sys"]);

/** A package that Cairn uses. `development`: only tests and tools need it. */
export type Dependency = {
  from: "npm" | "cargo";
  name: string;
  version: string;
  licence: string;
  development: boolean;
};

/**
 * Whether an SPDX expression lets us use the package: in `A OR B` one side suffices, in `A AND B` both must be
 * allowed, and an exception (`WITH`) only adds rights. The old crate form `A/B` means OR.
 */
export function isAllowed(expression: string, allowed: (licence: string) => boolean): boolean {
  const tokens =
    expression
      .replaceAll("/", " OR ")
      .replaceAll(/ WITH \S+/g, "")
      .match(/[()]|[^\s()]+/g) ?? [];
  let at = 0;
  const term = (): boolean => {
    const token = tokens[at];
    at += 1;
    if (token !== "(") return token !== undefined && allowed(token);
    const inner = either();
    at += 1; // the closing parenthesis
    return inner;
  };
  const both = (): boolean => {
    let result = term();
    while (tokens[at] === "AND") {
      at += 1;
      const right = term();
      result = result && right;
    }
    return result;
  };
  const either = (): boolean => {
    let result = both();
    while (tokens[at] === "OR") {
      at += 1;
      const right = both();
      result = result || right;
    }
    return result;
  };
  const result = either();
  return result && at >= tokens.length;
}

/** One line for each dependency whose licence is not on the list. */
export function judge(dependencies: readonly Dependency[]): string[] {
  return dependencies
    .filter(
      ({ from, name, licence }) =>
        !isAllowed(
          licence,
          (one) => ALLOWED.has(one) || (from === "cargo" && MAY_BE_LGPL.has(name) && LGPL.has(one)),
        ),
    )
    .map(
      ({ from, name, version, licence }) =>
        `${from} package ${name} ${version} has the licence "${licence || "none"}", which is not allowed`,
    );
}

/** Everything in package-lock.json that is not ours. */
export function npmDependencies(lock: unknown): Dependency[] {
  const found: Dependency[] = [];
  for (const [path, entry] of entriesField(lock, "packages")) {
    const name = path.split("node_modules/").at(-1);
    if (name === undefined || !path.includes("node_modules/") || field(entry, "link") === true) continue;
    found.push({
      from: "npm",
      name: textField(entry, "name") ?? name,
      version: textField(entry, "version") ?? "?",
      licence: textField(entry, "license") ?? "",
      development: field(entry, "dev") === true || field(entry, "devOptional") === true,
    });
  }
  return found;
}

/** Everything in the output of `cargo metadata` that comes from outside the workspace, also the patched copies in `native/vendor`. */
export function cargoDependencies(metadata: unknown): Dependency[] {
  return entriesField(metadata, "packages").flatMap(([, entry]) => {
    const copied = textField(entry, "manifest_path")?.includes("/native/vendor/") === true;
    if (textField(entry, "source") === undefined && !copied) return [];
    return {
      from: "cargo" as const,
      name: textField(entry, "name") ?? "?",
      version: textField(entry, "version") ?? "?",
      licence: textField(entry, "license") ?? "",
      development: false,
    };
  });
}

/** The text of THIRD_PARTY.md. */
export function thirdParty(dependencies: readonly Dependency[]): string {
  const table = (title: string, rows: readonly Dependency[]): string => {
    const lines = rows.map(({ name, version, licence }) => `| ${name} | ${version} | ${licence} |`);
    return `## ${title}\n\n| package | version | licence |\n|---|---|---|\n${[...new Set(lines)].sort().join("\n")}\n`;
  };
  const select = (from: Dependency["from"], development: boolean): Dependency[] =>
    dependencies.filter((one) => one.from === from && one.development === development);
  return `# Third-party software

Written by \`make licences\` from the lock files; \`make check\` fails when it is out of date.
Cairn itself is under MIT or Apache-2.0, at your choice. Each package below is under its own licence, whose text it carries.

## GMP (LGPL)

The native engine links the GNU Multiple Precision Arithmetic Library (GMP), built from the source that the crate
\`gmp-mpfr-sys\` carries, through the crate \`rug\`. GMP is under LGPL-3.0-or-later or GPL-2.0-or-later; both crates are
under LGPL-3.0-or-later. Their source comes with the crates, at the versions of \`native/Cargo.lock\`. To run Cairn with
another version of GMP, change it there (or enable the crate's feature \`use-system-libs\` to link the system's own) and run
\`make build\`. A build without any of the three: \`cargo build --release -p cairn-engine --no-default-features --features backend-num-bigint\`
in \`native\`.

## Node.js

The npm package \`node\` fetches the Node.js runtime (MIT, with the licences of its parts in its own LICENSE file).

${table("npm packages at run time", select("npm", false))}
${table("npm packages for development and tests only", select("npm", true))}
${table("Rust crates", select("cargo", false))}`;
}

const PLATFORMS = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
];

function readMetadata(root: string): unknown {
  // The same platforms on every machine, so that the written file is the same too.
  const filters = PLATFORMS.flatMap((platform) => ["--filter-platform", platform]);
  const { status, stdout, stderr, error } = spawnSync(
    "cargo",
    ["metadata", "--format-version", "1", "--locked", ...filters],
    { cwd: join(root, "native"), encoding: "utf8", maxBuffer: 1 << 28 },
  );
  if (status !== 0) throw new Error(`cargo metadata failed: ${error?.message ?? stderr.trim()}`);
  return JSON.parse(stdout);
}

/** Judges every dependency and compares THIRD_PARTY.md with what it should say (or writes it). */
export function checkLicences(root: string, { write }: { write: boolean }): Findings {
  const dependencies = [
    ...npmDependencies(JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"))),
    ...(existsSync(join(root, "native", "Cargo.toml")) ? cargoDependencies(readMetadata(root)) : []),
  ];
  const problems = judge(dependencies);
  const path = join(root, "THIRD_PARTY.md");
  const text = thirdParty(dependencies);
  if (write) writeFileSync(path, text);
  else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
    problems.push("THIRD_PARTY.md does not match the lock files: run make licences and commit it");
  }
  return { problems, notes: [`${dependencies.length} packages judged`] };
}

await runCheck(import.meta.url, "licences", checkLicences);
