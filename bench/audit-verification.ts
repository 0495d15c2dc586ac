import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { z } from "zod";
import type { Plan } from "./plan.ts";
import type { Entry } from "./report.ts";
import { spreadOf } from "./spread.ts";

const run = promisify(execFile);
/** Megabytes of heap that a log of any length must do with. */
const HEAP_MB = 48;
const lineSchema = z.object({
  entries: z.number(),
  verified: z.number(),
  bare: z.number(),
  grownMb: z.number(),
});

/** Verifying the export of an audit log, beside hashing and verifying the same bytes only, in a process of its own with little memory. */
export async function auditVerification(plan: Plan): Promise<readonly Entry[]> {
  const program = fileURLToPath(new URL("audit.ts", import.meta.url));
  const { stdout } = await run(process.execPath, [
    `--max-old-space-size=${HEAP_MB}`,
    program,
    String(plan.audited),
  ]);
  const { entries, verified, bare, grownMb } = lineSchema.parse(JSON.parse(stdout));
  return [
    {
      section: "audit log",
      what: `verifying an export of ${entries} entries`,
      partner: "hashing them and verifying their signatures",
      ratio: spreadOf([bare / verified]),
      target: null,
      note: `${verified.toFixed(0)} beside ${bare.toFixed(0)} entries a second; memory grew by ${grownMb.toFixed(0)} MB, the heap is bounded to ${HEAP_MB} MB`,
    },
  ];
}
