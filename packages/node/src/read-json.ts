import { CairnError } from "@cairn/core";

/** Deepest nesting of a request's body; the contract's own bodies reach 4. */
const MAX_DEPTH = 16;

/**
 * Parses a request's body. Nesting is bounded before anything recursive looks at it.
 * @throws CairnError `malformed`
 */
export function readJson(body: Buffer): unknown {
  const text = body.toString("utf8");
  if (text.trim() === "") throw new CairnError("malformed", "the body is empty; send JSON");
  let depth = 0;
  let quoted = false;
  for (let position = 0; position < text.length; position++) {
    const char = text[position];
    if (quoted) {
      if (char === "\\") position++;
      else if (char === '"') quoted = false;
    } else if (char === '"') quoted = true;
    else if (char === "[" || char === "{") {
      depth += 1;
      if (depth > MAX_DEPTH) {
        throw new CairnError("malformed", "the body is nested deeper than any that the API takes", {
          limit: MAX_DEPTH,
        });
      }
    } else if (char === "]" || char === "}") depth -= 1;
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CairnError("malformed", "the body is not valid JSON", {}, { cause });
  }
}
