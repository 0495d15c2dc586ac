import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

/** What a check found: one line for each violation, and notes that people should read but that break nothing. */
export type Findings = { problems: string[]; notes?: string[] };

/**
 * Makes a module runnable as a check: when `moduleUrl` is the script that was started, runs `check` on the
 * repository (or on `--root`), prints what it found and exits 1 if there is any problem.
 */
export async function runCheck(
  moduleUrl: string,
  name: string,
  check: (root: string, options: { write: boolean }) => Findings | Promise<Findings>,
): Promise<void> {
  const started = process.argv[1];
  if (started === undefined || pathToFileURL(started).href !== moduleUrl) return;
  const { values } = parseArgs({
    options: {
      root: { type: "string", default: join(import.meta.dirname, "..") },
      write: { type: "boolean", default: false },
    },
  });
  const findings = await Promise.try(() => check(resolve(values.root), { write: values.write })).catch(
    (error: unknown): Findings => ({ problems: [error instanceof Error ? error.message : String(error)] }),
  );
  const { problems, notes = [] } = findings;
  for (const note of notes) console.log(`${name}: ${note}`);
  for (const problem of problems) console.log(`${name}: ${problem}`);
  console.log(
    problems.length === 0
      ? `${name}: ok`
      : `${name}: ${problems.length} problem${problems.length > 1 ? "s" : ""}`,
  );
  process.exitCode = problems.length === 0 ? 0 : 1;
}
