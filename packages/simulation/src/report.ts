import { execFileSync } from "node:child_process";
import type { Complaint } from "./invariant.ts";
import type { Scenario } from "./scenario.ts";
import { type Shrunk, shrink } from "./shrink.ts";
import { simulate } from "./simulate-seed.ts";

/** The commit that is checked out, marked where files differ from it; `unknown` outside of git. */
export function gitCommit(): string {
  const git = (...args: string[]): string =>
    execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8" }).trim();
  try {
    return `${git("rev-parse", "HEAD")}${git("status", "--porcelain", "--untracked-files=no") === "" ? "" : " (with changes)"}`;
  } catch {
    return "unknown";
  }
}

/** What people need to see a failure again: seed, commit, and the fewest operations that still break the invariant. */
export async function reportFailure(
  scenario: Scenario,
  complaint: Complaint,
  play: (scenario: Scenario) => Promise<Complaint | null> = async (one) => (await simulate(one)).complaint,
): Promise<{ readonly text: string; readonly shrunk: Shrunk }> {
  const shrunk = await shrink(scenario, complaint, play);
  const { seed, hostile, operations } = scenario;
  const again = `npm run simulate -- --seed ${seed}`;
  const lines = [
    `seed ${seed} breaks ${complaint.invariant} at ${complaint.at} ms of virtual time: ${complaint.message}`,
    `  commit ${gitCommit()}`,
    `  replay: ${again} --trace`,
    `  shortest, ${shrunk.kept.length} of ${operations.length} operations after ${shrunk.runs} runs: ${again} --keep ${shrunk.kept.join(",") || "none"} --trace`,
    ...(hostile === null ? [] : [`  node ${hostile} is hostile`]),
    ...shrunk.scenario.operations.map(({ at, ...what }) => `  ${at} ms ${JSON.stringify(what)}`),
  ];
  return { text: lines.join("\n"), shrunk };
}
