import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { Plan } from "./plan.ts";
import type { Entry } from "./report.ts";
import { mean, median, spreadOf } from "./spread.ts";

const SECTION = "engine beside the bare crates";
const cost = z.object({ cpu: z.number(), wall: z.number() });
const lineSchema = z.union([
  z.object({ what: z.string(), level: z.string(), ours: cost, bare: cost }),
  z.object({
    what: z.literal("safe-prime"),
    level: z.string(),
    side: z.enum(["ours", "bare"]),
    bits: z.number(),
    cpu: z.number(),
  }),
]);
type Line = z.output<typeof lineSchema>;
type Pair = Extract<Line, { readonly ours: unknown }>;
type Prime = Extract<Line, { readonly side: string }>;

/** Most that a session may cost beside the same parties on the bare crate. */
const targets: Readonly<Record<string, number>> = {
  "cggmp24-keygen": 1.1,
  "cggmp24-presign": 1.1,
  "cggmp24-sign": 1.1,
  "frost-keygen": 1.1,
  "frost-sign": 1.1,
};

/**
 * Sessions of the engine beside the bare crates. At the reduced level when quick: there fixed costs weigh more, so that a target kept there
 * is kept at the full level too.
 */
export async function besideBare(plan: Plan): Promise<readonly Entry[]> {
  return sessionFigures((await linesOf(plan, plan.pairs, 0)).filter((line): line is Pair => "ours" in line));
}

/** The search for safe primes beside the protocol crate's own. */
export async function safePrimes(plan: Plan): Promise<readonly Entry[]> {
  const lines = await linesOf(plan, 0, plan.barePrimes);
  return [primeFigure(lines.filter((line): line is Prime => "side" in line))];
}

async function linesOf(plan: Plan, pairs: number, barePrimes: number): Promise<readonly Line[]> {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const folder = plan.quick ? "native/target-reduced" : "native/target";
  const build = ["build", "--release", "--locked", "-p", "cairn-engine", "--example", "beside-bare"];
  await run(
    "cargo",
    [...build, "--target-dir", `${root}${folder}`, ...(plan.quick ? ["--features", "reduced"] : [])],
    `${root}native`,
  );
  const program = `${root}${folder}/release/examples/beside-bare`;
  const text = await run(program, [String(pairs), String(barePrimes)], root);
  return text
    .trim()
    .split("\n")
    .map((line) => lineSchema.parse(JSON.parse(line)));
}

function sessionFigures(pairs: readonly Pair[]): Entry[] {
  const kinds = [...new Set(pairs.map(({ what }) => what))];
  return kinds.map((what) => {
    const mine = pairs.filter((line) => line.what === what);
    const most = targets[what];
    const [ours, bare] = [
      median(mine.map((line) => line.ours.cpu)),
      median(mine.map((line) => line.bare.cpu)),
    ];
    return {
      section: SECTION,
      what: `${what}, processor time`,
      partner: "the same parties on the bare crate",
      ratio: spreadOf(mine.map((line) => line.ours.cpu / line.bare.cpu)),
      target: most === undefined ? null : { most },
      note: `${mine[0]?.level} level; all parties ${inMs(ours)} beside ${inMs(bare)}`,
      details: { lines: mine },
    };
  });
}

/** A search ends by chance, so means are compared; the spread is that of single searches beside the other side's mean. */
function primeFigure(primes: readonly Prime[]): Entry {
  const of = (side: Prime["side"]) => primes.filter((line) => line.side === side).map(({ cpu }) => cpu);
  const [ours, bare] = [of("ours"), of("bare")];
  const each = spreadOf(bare.map((cpu) => cpu / mean(ours)));
  return {
    section: SECTION,
    what: `safe primes of ${primes[0]?.bits} bits, times as fast`,
    partner: "the protocol crate's generator",
    ratio: { ...each, median: mean(bare) / mean(ours) },
    target: primes[0]?.level === "full" ? { least: 8 } : null,
    note: `means of ${ours.length} (${inMs(mean(ours))}) and ${bare.length} (${inMs(mean(bare))}) searches`,
    details: { ours, bare },
  };
}

function inMs(seconds: number): string {
  const ms = seconds * 1000;
  return `${ms >= 100 ? ms.toFixed(0) : ms.toFixed(2)} ms`;
}

/** Runs a program to its end and gives what it printed. @throws Error with its errors */
async function run(program: string, words: readonly string[], cwd: string): Promise<string> {
  const child = spawn(program, words, { cwd, stdio: ["ignore", "pipe", "pipe"] });
  const [out, errors]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on("data", (chunk) => out.push(chunk));
  child.stderr.on("data", (chunk) => errors.push(chunk));
  const [code]: unknown[] = await once(child, "close");
  if (code !== 0)
    throw new Error(`${program} ended with ${code}: ${Buffer.concat(errors).toString().slice(-2000)}`);
  return Buffer.concat(out).toString();
}
