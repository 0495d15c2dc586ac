import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { compareVersions } from "./compare-versions.ts";
import { entriesField, field, textField } from "./field.ts";
import { listFiles } from "./list-files.ts";
import { type Findings, runCheck } from "./run-check.ts";

type Locked = { name: string; version: string };
type Rule = { name: string; atLeast?: string; banned: boolean; advisory: string; why: string };

/** Reads one list of advisory-floors.json; a rule without a name, floor or ban throws. */
function readRules(floors: unknown, list: string, needsFloor: boolean): Rule[] {
  return entriesField(floors, list).map(([position, entry]) => {
    const name = textField(entry, "name");
    const atLeast = textField(entry, "atLeast");
    const banned = field(entry, "banned") === true;
    if (name === undefined || (needsFloor && !banned && atLeast === undefined))
      throw new Error(`advisory-floors.json: ${list}[${position}] needs a name and atLeast or banned`);
    return {
      name,
      banned,
      advisory: textField(entry, "advisory") ?? "house rule",
      why: textField(entry, "why") ?? "",
      ...(atLeast === undefined ? {} : { atLeast }),
    };
  });
}

/** What package-lock.json installs. */
export function npmLocked(lock: unknown): Locked[] {
  return entriesField(lock, "packages").flatMap(([path, entry]) => {
    const name = textField(entry, "name") ?? path.split("node_modules/").at(-1);
    const version = textField(entry, "version");
    return path.includes("node_modules/") && name !== undefined && version !== undefined
      ? { name, version }
      : [];
  });
}

/** What Cargo.lock pins. */
export function cargoLocked(lock: string): Locked[] {
  return lock.split("[[package]]").flatMap((block) => {
    const name = /^name = "(.+)"$/m.exec(block)?.[1];
    const version = /^version = "(.+)"$/m.exec(block)?.[1];
    return name !== undefined && version !== undefined ? { name, version } : [];
  });
}

function violations(kind: string, locked: readonly Locked[], rules: readonly Rule[]): string[] {
  return rules.flatMap((rule) =>
    locked
      .filter(
        ({ name, version }) =>
          name === rule.name &&
          (rule.banned || (rule.atLeast !== undefined && compareVersions(version, rule.atLeast) < 0)),
      )
      .map(({ name, version }) => {
        const remedy = rule.banned ? "must not be used" : `must be at least ${rule.atLeast}`;
        return `${kind} ${name} ${version} ${remedy}: ${rule.advisory}, ${rule.why}`;
      }),
  );
}

/** Holds the lock files against the floors kept in this repository; needs no network. */
export function checkFloors(root: string, floors: unknown): string[] {
  const problems: string[] = [];
  const npmLock = join(root, "package-lock.json");
  if (existsSync(npmLock)) {
    const locked = npmLocked(JSON.parse(readFileSync(npmLock, "utf8")));
    problems.push(...violations("npm", locked, readRules(floors, "npm", true)));
  }
  const cargoLock = join(root, "native", "Cargo.lock");
  if (existsSync(cargoLock)) {
    const locked = cargoLocked(readFileSync(cargoLock, "utf8"));
    problems.push(...violations("cargo", locked, readRules(floors, "cargo", true)));
  }
  const banned = readRules(floors, "bannedCargoFeatures", false);
  // A feature can be switched on in a manifest, in cargo's configuration, or on a command line.
  const places = listFiles(root, (path) =>
    /(^|\/)(Cargo\.toml|\.cargo\/config\.toml|Makefile|Dockerfile)$|\.sh$|^\.ci\/|\.ya?ml$/.test(path),
  );
  for (const place of places) {
    const text = readFileSync(join(root, place), "utf8").replaceAll(/^\s*#.*$/gm, "");
    for (const { name, advisory, why } of banned)
      if (text.includes(name)) problems.push(`${place} names the feature ${name}: ${advisory}, ${why}`);
  }
  return problems;
}

/** Every dependency of our own packages is pinned to one version, so that a floor once passed stays passed. */
export function checkPins(root: string): string[] {
  return listFiles(root, (path) =>
    /^(package\.json|(packages|native)\/[^/]+\/package\.json)$/.test(path),
  ).flatMap((path) => {
    const manifest: unknown = JSON.parse(readFileSync(join(root, path), "utf8"));
    return ["dependencies", "devDependencies", "optionalDependencies"].flatMap((kind) =>
      entriesField(manifest, kind)
        .filter(
          ([, version]) => typeof version !== "string" || !/^\d+\.\d+\.\d+(-[\w.]+)?$|^file:/.test(version),
        )
        .map(([name, version]) => `${path}: ${name} "${version}" is a range: pin one version`),
    );
  });
}

/** Asks the live databases, where they can be reached; says which were and which were not. */
export function askLive(root: string): Findings {
  const problems: string[] = [];
  const notes: string[] = [];
  const limits = { cwd: root, encoding: "utf8", timeout: 60_000, maxBuffer: 1 << 26 } as const;

  const npm = spawnSync("npm", ["audit", "--json", "--audit-level=high"], limits);
  const report = parseJson(npm.stdout ?? "");
  if (field(report, "vulnerabilities") === undefined) {
    const reason = textField(report, "message") ?? textField(report, "error", "summary") ?? "no answer";
    // The host in the message says nothing that a reader needs.
    notes.push(`live npm advisories: NOT reached (${reason.split(/\n| - /)[0]})`);
  } else {
    notes.push("live npm advisories: reached");
    for (const [name, entry] of entriesField(report, "vulnerabilities")) {
      const severity = textField(entry, "severity") ?? "unknown";
      const line = `npm ${name} (${textField(entry, "range") ?? "?"}): ${severity}, reported by npm audit`;
      if (severity === "high" || severity === "critical") problems.push(line);
      else notes.push(line);
    }
  }

  const cargo = spawnSync("cargo", ["audit", "--json"], { ...limits, cwd: join(root, "native") });
  const audit = parseJson(cargo.stdout ?? "");
  if (field(audit, "vulnerabilities") === undefined) {
    const absent = (cargo.stderr ?? "").includes("no such command");
    notes.push(
      `live Rust advisories: NOT reached (${absent ? "cargo-audit is not installed" : "cargo audit gave no answer"})`,
    );
  } else {
    notes.push("live Rust advisories: reached");
    for (const [, entry] of entriesField(audit, "vulnerabilities", "list")) {
      const [name, version] = [textField(entry, "package", "name"), textField(entry, "package", "version")];
      problems.push(
        `cargo ${name} ${version}: ${textField(entry, "advisory", "id")}, reported by cargo audit`,
      );
    }
  }
  return { problems, notes };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the tool did not run, or the network was cut: the caller reports it as not reached
  }
}

function checkAdvisories(root: string): Findings {
  const floors: unknown = JSON.parse(readFileSync(join(import.meta.dirname, "advisory-floors.json"), "utf8"));
  const live = askLive(root);
  return {
    problems: [...checkFloors(root, floors), ...checkPins(root), ...live.problems],
    notes: ["floors in scripts/advisory-floors.json: checked", ...(live.notes ?? [])],
  };
}

await runCheck(import.meta.url, "advisories", checkAdvisories);
