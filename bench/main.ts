/**
 * Measures Cairn. Every figure is a ratio to its partner in the same run, with spread; a table goes to standard output, everything to
 * `bench.json`. Ends with 1 when a target is missed or a figure could not be measured.
 *
 *   make bench              everything (about two hours on two cores)
 *   QUICK=1 make bench      fewer samples, and the reduced level of the engine wherever the full one is slow
 *   ONLY=engine,idle make bench     some sections: engine, primes, table, frost, cold, stocked, idle, memory, growth, history, audit, claims, envelopes, events, certificate, storage, sync, work
 */
import { availableParallelism, cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { isCairnError } from "@cairn/core";
import { auditVerification } from "./audit-verification.ts";
import { besideBare, safePrimes } from "./beside-bare.ts";
import { certificate } from "./certificate.ts";
import { claims } from "./claims.ts";
import { envelopes } from "./envelopes.ts";
import { events } from "./events.ts";
import { growth } from "./growth.ts";
import { history } from "./history.ts";
import { idle } from "./idle.ts";
import { memory } from "./memory.ts";
import { missionTable } from "./mission-table.ts";
import { paymentsBesideFloor } from "./payments-beside-floor.ts";
import { planOf } from "./plan.ts";
import { type Entry, table, verdictOf, writeReport } from "./report.ts";
import { storage } from "./storage.ts";
import { sync } from "./sync.ts";
import { work } from "./work.ts";

const sections: Readonly<Record<string, () => Promise<readonly Entry[]>>> = {
  engine: () => besideBare(plan),
  primes: () => safePrimes(plan),
  table: () => missionTable(plan),
  frost: () => paymentsBesideFloor("frost", plan, cores),
  cold: () => paymentsBesideFloor("ecdsaCold", plan, cores),
  stocked: () => paymentsBesideFloor("ecdsaStocked", plan, cores),
  idle: () => idle(plan),
  memory: () => memory(plan),
  growth: () => growth(plan),
  history: () => history(plan),
  audit: () => auditVerification(plan),
  claims,
  envelopes,
  certificate,
  events,
  storage,
  sync: () => sync(plan),
  work,
};

const plan = planOf(process.env);
const cores = availableParallelism();
const wanted = process.env.ONLY?.split(",") ?? Object.keys(sections);
const entries: Entry[] = [];
// A search for primes alone does not keep a process alive.
const alive = setInterval(() => {}, 60_000);
for (const name of wanted) {
  const measure = sections[name];
  if (measure === undefined) throw new RangeError(`no section ${name}; there are ${Object.keys(sections)}`);
  process.stderr.write(`measuring: ${name}\n`);
  try {
    entries.push(...(await measure()));
  } catch (error) {
    entries.push({ section: name, what: "everything", missing: reason(error) });
  }
}
clearInterval(alive);
const path = fileURLToPath(new URL("../bench.json", import.meta.url));
const run = {
  quick: plan.quick,
  sections: wanted,
  cores,
  processor: cpus()[0]?.model ?? "",
  node: process.version,
};
writeReport(path, run, entries);
console.log(table(entries));
const missed = entries.filter((entry) => verdictOf(entry) === "MISSED");
console.log(
  missed.length === 0
    ? "\nAll targets are met."
    : `\n${missed.length} missed: ${missed.map(({ what }) => what).join("; ")}`,
);
process.exitCode = missed.length === 0 ? 0 : 1;

function reason(error: unknown): string {
  if (isCairnError(error)) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
