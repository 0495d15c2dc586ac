import { createReducedEngine } from "@cairn/engine/reduced";
import { runDaemon } from "./run-daemon.ts";

/** The daemon with the reduced engine, for tests on regtest: it refuses every other network. */
await runDaemon(process.argv.slice(2), { level: "reduced", create: createReducedEngine });
