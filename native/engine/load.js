import { createRequire } from "node:module";

export class EngineBinaryMissing extends Error {
  name = "EngineBinaryMissing";
  code = "native-missing";
}

/** Loads `file` and refuses a binary of another level than its name says. */
export function load(file, level) {
  let binding;
  try {
    binding = createRequire(import.meta.url)(`./${file}`);
  } catch (cause) {
    throw new EngineBinaryMissing(
      `The engine's binary native/engine/${file} is missing or was built for another machine: run make build.`,
      { cause },
    );
  }
  if (binding.level() !== level) {
    throw new EngineBinaryMissing(`native/engine/${file} was built at level ${binding.level()}, not ${level}: run make build.`);
  }
  return binding;
}
