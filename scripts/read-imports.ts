/** One import of a TypeScript or JavaScript source; `specifier` is undefined where it is not a plain string. */
export type Import = { specifier: string | undefined; line: number };

type Token = { kind: "word" | "string" | "template" | "mark"; text: string; line: number };

/**
 * Reads what a source imports: static and dynamic imports, re-exports, `import("…")` types, `require` and
 * `import.meta.resolve`; type-only ones count. Comments and the contents of strings are not mistaken for imports.
 */
export function readImports(source: string): { imports: Import[]; strings: Import[] } {
  const tokens = tokenize(source);
  const imports: Import[] = [];
  const strings: Import[] = [];
  for (const [index, token] of tokens.entries()) {
    if (token.kind === "string") strings.push({ specifier: token.text, line: token.line });
    if (token.kind !== "word") continue;
    const before = tokens[index - 1];
    const next = tokens[index + 1];
    const after = tokens[index + 2];
    const isMember = before?.kind === "mark" && before.text === ".";
    const found = (at: Token | undefined): void => {
      imports.push({ specifier: at?.kind === "string" ? at.text : undefined, line: token.line });
    };
    if ((token.text === "from" || token.text === "import") && next?.kind === "string" && !isMember)
      found(next);
    else if (token.text === "import" && next?.text === "(" && !isMember) found(after);
    // A function of its own that is called require is a loader of native code: the same rule holds for it. A private method is none.
    else if (token.text === "require" && next?.text === "(" && before?.text !== "#") found(after);
    else if (token.text === "resolve" && isMember && tokens[index - 2]?.text === "meta") found(after);
  }
  return { imports, strings };
}

const WORD = /[\p{L}\p{N}_$]/u;
/** After one of these words a slash begins a regular expression rather than a division. */
const BEFORE_REGEX = new Set(["return", "typeof", "case", "in", "of", "await", "yield", "void", "delete"]);

function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  const templates: number[] = []; // brace depth at which each open template's expression ends
  let depth = 0;
  let line = 1;
  let at = 0;

  const push = (kind: Token["kind"], text: string, start: number): void => {
    tokens.push({ kind, text, line: start });
  };
  const regexMayStart = (): boolean => {
    const last = tokens.at(-1);
    if (last === undefined) return true;
    if (last.kind === "word") return BEFORE_REGEX.has(last.text);
    return last.kind === "mark" && !")]}".includes(last.text);
  };
  /** Reads template text up to its end or its next expression. */
  const readTemplate = (): void => {
    const start = line;
    let text = "";
    while (at < source.length) {
      const char = source.charAt(at);
      if (char === "\\") {
        text += source.slice(at, at + 2);
        at += 2;
      } else if (char === "`") {
        at += 1;
        push("template", text, start);
        return;
      } else if (source.startsWith("${", at)) {
        at += 2;
        push("template", text, start);
        templates.push(depth);
        depth += 1;
        return;
      } else {
        if (char === "\n") line += 1;
        text += char;
        at += 1;
      }
    }
  };

  while (at < source.length) {
    const char = source.charAt(at);
    if (char === "\n") {
      line += 1;
      at += 1;
    } else if (/\s/.test(char)) {
      at += 1;
    } else if (source.startsWith("//", at) || (at === 0 && source.startsWith("#!"))) {
      while (at < source.length && source.charAt(at) !== "\n") at += 1;
    } else if (source.startsWith("/*", at)) {
      const end = source.indexOf("*/", at + 2);
      const comment = source.slice(at, end === -1 ? source.length : end + 2);
      line += comment.split("\n").length - 1;
      at += comment.length;
    } else if (char === '"' || char === "'") {
      let text = "";
      at += 1;
      while (at < source.length && source.charAt(at) !== char && source.charAt(at) !== "\n") {
        if (source.charAt(at) === "\\") at += 1;
        text += source.charAt(at);
        at += 1;
      }
      at += 1;
      push("string", text, line);
    } else if (char === "`") {
      at += 1;
      readTemplate();
    } else if (char === "/" && regexMayStart()) {
      let inClass = false;
      at += 1;
      while (at < source.length && (inClass || source.charAt(at) !== "/") && source.charAt(at) !== "\n") {
        if (source.charAt(at) === "\\") at += 1;
        else if (source.charAt(at) === "[") inClass = true;
        else if (source.charAt(at) === "]") inClass = false;
        at += 1;
      }
      at += 1;
      push("template", "", line);
    } else if (WORD.test(char)) {
      const start = at;
      while (at < source.length && WORD.test(source.charAt(at))) at += 1;
      push("word", source.slice(start, at), line);
    } else {
      at += 1;
      if (char === "{") depth += 1;
      if (char === "}") {
        depth -= 1;
        if (templates.at(-1) === depth) {
          templates.pop();
          readTemplate();
          continue;
        }
      }
      push("mark", char, line);
    }
  }
  return tokens;
}
