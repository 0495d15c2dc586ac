import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { z } from "zod";

/** One row of a node's `presignature_usage`. */
export interface Burn {
  readonly counter: number;
  readonly presignature: string;
  readonly session: string;
}

const rowSchema = z.object({ counter: z.number(), presignature_id: z.string(), session: z.string() });

/** What a node's database says it has burned, by counter. Reads the file itself: the node must not run, since it locks it. */
export function readBurns(nodeDir: string): Burn[] {
  const database = new DatabaseSync(join(nodeDir, "data", "cairn.db"), { readOnly: true });
  try {
    return database
      .prepare("select counter, presignature_id, session from presignature_usage order by counter")
      .all()
      .map((row) => rowSchema.parse(row))
      .map(({ counter, presignature_id: presignature, session }) => ({ counter, presignature, session }));
  } finally {
    database.close();
  }
}
