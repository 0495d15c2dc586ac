import { createRequire } from "node:module";

export class ScriptBinaryMissing extends Error {
  name = "ScriptBinaryMissing";
  code = "script-binary-missing";
}

function load() {
  try {
    return createRequire(import.meta.url)("./cairn-script.node");
  } catch (cause) {
    throw new ScriptBinaryMissing(
      "The script checker's binary native/script/cairn-script.node is missing or was built for another machine: run make build.",
      { cause },
    );
  }
}

export const { verifyInput } = load();
