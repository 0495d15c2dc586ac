import { createEngine } from "@cairn/engine";
import { runDaemon } from "./run-daemon.ts";

/** `node packages/node/src/main.ts --config FILE [--section.key VALUE …]` */
await runDaemon(process.argv.slice(2), { level: "full", create: createEngine });
