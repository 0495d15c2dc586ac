import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { entriesField, textField } from "./field.ts";
import { staleDocs } from "./generate-docs.ts";
import { listFiles } from "./list-files.ts";
import { type Findings, runCheck } from "./run-check.ts";

/** Written in pieces, so that this file does not break its own rule. */
const FORBIDDEN: { pattern: RegExp; what: string }[] = [
  {
    pattern:
      /\b(?:registry\.npmjs|registry\.yarnpkg|(?:index\.|static\.)?crates|pypi|files\.pythonhosted|proxy\.golang)\.(?:org|com|io)\b/,
    what: "a package registry's host",
  },
  {
    pattern: new RegExp(String.raw`(?<![\w.~}/-])/(?:${["work", "root", "tmp"].join("|")})/[\w.]`),
    what: "a path of one machine",
  },
];

/** Lock files and written lists name registries by nature. */
const GENERATED = /(^|\/)(package-lock\.json|Cargo\.lock|THIRD_PARTY\.md)$/;
const TEXT = /(\.(md|[cm]?[jt]sx?|rs|sh|toml|json|ya?ml|html|css)|(^|\/)(Makefile|\.ci\/.*))$/;

/** The anchor that a heading gets, as code hosts make it. */
export function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replaceAll(/\s/g, "-");
}

/** Markdown with the contents of fenced blocks and code spans blanked, so that samples are not read as links. */
function prose(markdown: string): string {
  return markdown
    .replaceAll(/^(```|~~~)[\s\S]*?^\1/gm, (block) => block.replaceAll(/[^\n]/g, " "))
    .replaceAll(/`[^`\n]*`/g, (span) => " ".repeat(span.length));
}

/** Only what is set as code: fenced blocks and code spans. */
function code(markdown: string): string {
  const fenced = [...markdown.matchAll(/^(```|~~~).*\n([\s\S]*?)^\1/gm)].map((match) => match[2] ?? "");
  const unfenced = markdown.replaceAll(/^(```|~~~)[\s\S]*?^\1/gm, "");
  const spans = [...unfenced.matchAll(/`([^`\n]+)`/g)].map((match) => match[1] ?? "");
  return [...fenced, ...spans].join("\n");
}

/** Verifies links, named commands, package descriptions and forbidden words. */
export function checkDocs(root: string): Findings {
  const problems: string[] = [];
  const documents = listFiles(root, (path) => path.endsWith(".md"));
  const makefile = existsSync(join(root, "Makefile")) ? readFileSync(join(root, "Makefile"), "utf8") : "";
  const targets = new Set([...makefile.matchAll(/^([a-z][a-z-]*):/gm)].map((match) => match[1]));
  const scripts = new Set(
    entriesField(readJson(join(root, "package.json")), "scripts").map(([name]) => name),
  );

  for (const path of documents) {
    const text = readFileSync(join(root, path), "utf8");
    const links = [
      ...prose(text).matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)/g),
      ...prose(text).matchAll(/^\[[^\]]+\]:\s*(\S+)/gm),
    ];
    for (const { 1: link = "" } of links) {
      if (/^[a-z][a-z0-9+.-]*:/i.test(link)) continue;
      const problem = brokenLink(root, path, link);
      if (problem !== undefined) problems.push(`${path}: link "${link}": ${problem}`);
    }
    for (const { 1: target = "" } of code(text).matchAll(
      /(?:^|[ \t;&|(])make(?: +-\w+)*(?: +[A-Z]+=\S+)* +([a-z][a-z-]*)(?![\w=])/gm,
    ))
      if (!targets.has(target)) problems.push(`${path}: there is no target "make ${target}"`);
    for (const { 1: script = "" } of code(text).matchAll(/\bnpm run ([a-z][\w:-]*)/g))
      if (!scripts.has(script)) problems.push(`${path}: there is no script "npm run ${script}"`);
  }

  for (const manifest of listFiles(root, (path) => /^packages\/[^/]+\/package\.json$/.test(path))) {
    const readme = join(root, dirname(manifest), "README.md");
    const described = (textField(readJson(join(root, manifest)), "description") ?? "").length >= 10;
    if (!described && !existsSync(readme))
      problems.push(
        `${manifest}: say in one line what the package is: "description", or a README.md beside it`,
      );
  }

  for (const path of listFiles(root, (name) => TEXT.test(name) && !GENERATED.test(name))) {
    for (const [index, line] of readFileSync(join(root, path), "utf8").split("\n").entries()) {
      for (const { pattern, what } of FORBIDDEN) {
        const found = pattern.exec(line);
        if (found !== null) problems.push(`${path}:${index + 1}: "${found[0]}" is ${what}`);
      }
    }
  }
  return { problems, notes: [`${documents.length} documents read`] };
}

function brokenLink(root: string, from: string, link: string): string | undefined {
  const [path = "", fragment] = decodeURIComponent(link).split("#");
  const target =
    path === ""
      ? from
      : posix.normalize(path.startsWith("/") ? path.slice(1) : posix.join(dirname(from), path));
  if (target.startsWith("..")) return "leaves the repository";
  const file = join(root, target);
  if (!existsSync(file)) return "no such file";
  if (fragment === undefined || fragment === "" || !target.endsWith(".md") || statSync(file).isDirectory())
    return undefined;
  const withoutCode = readFileSync(file, "utf8").replaceAll(/^(```|~~~)[\s\S]*?^\1/gm, "");
  const headings = [...withoutCode.matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)].map((match) =>
    anchorOf((match[1] ?? "").replaceAll("`", "")),
  );
  return headings.includes(fragment.toLowerCase()) ? undefined : "no such heading";
}

function readJson(path: string): unknown {
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
}

/** The same, and whether what documents take from the code is up to date: only in this repository, whose code is loaded. */
async function checkOwnDocs(root: string): Promise<Findings> {
  const { problems, notes = [] } = checkDocs(root);
  const stale = root === join(import.meta.dirname, "..") ? await staleDocs() : [];
  return { problems: [...problems, ...stale], notes };
}

await runCheck(import.meta.url, "docs", checkOwnDocs);
