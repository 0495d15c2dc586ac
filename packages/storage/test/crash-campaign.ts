import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isCairnError, type NodeStore } from "@cairn/core";
import { verifyAuditLog } from "../src/index.ts";
import { at, presignatureOf, sessionOf } from "./rows.ts";
import { owner, signerOf } from "./sqlite-place.ts";
import type { StoreSpec } from "./store-spec.ts";

const CHILD = join(import.meta.dirname, "fixtures", "committing-child.ts");
/** Of one database. */
const LIVES = 10;

/** A database whose process is killed, life after life. */
export interface CrashPlace {
  /** What the process opens. */
  readonly spec: StoreSpec;
  /** Opens it in this process, between two lives. */
  open(): Promise<NodeStore>;
  remove(): Promise<void>;
  /** Says when `kill` is called in the life that begins; without it, some time after some lines. */
  readonly arm?: (kill: () => void) => void;
}

/**
 * Starts a process that writes, kills it with SIGKILL, looks at what is left, and again: `kills` times, ten on each database.
 * @returns how many acknowledged commits and burns were looked for
 */
export async function crashCampaign({
  kills,
  atOnce,
  random,
  createPlace,
}: {
  readonly kills: number;
  readonly atOnce: number;
  readonly random: () => number;
  readonly createPlace: () => Promise<CrashPlace>;
}): Promise<{ readonly checked: number }> {
  let left = kills;
  let checked = 0;
  const cache = await mkdtemp(join(tmpdir(), "cairn-compiled-"));
  const liveOften = async (): Promise<void> => {
    const place = await createPlace();
    try {
      const seen: Acknowledged = { commits: [], burns: new Map(), ready: [] };
      for (let life = 0; life < LIVES && left > 0; life += 1) {
        left -= 1;
        const end = { lines: Math.floor(random() * 80), delayMs: Math.floor(random() * 4) };
        await liveAndDie(place, { life: String(life), cache, end }, seen);
        checked += await examine(place, seen);
      }
    } catch (cause) {
      left = 0;
      throw cause;
    } finally {
      await place.remove();
    }
  };
  const lane = async (): Promise<void> => {
    while (left > 0) await liveOften();
  };
  try {
    await Promise.all(Array.from({ length: atOnce }, lane));
  } finally {
    await rm(cache, { recursive: true, force: true });
  }
  return { checked };
}

/** What a database has said is durable, over all of its lives. */
interface Acknowledged {
  readonly commits: string[];
  readonly burns: Map<string, number>;
  readonly ready: string[];
}

async function liveAndDie(
  place: CrashPlace,
  {
    life,
    cache,
    end,
  }: {
    readonly life: string;
    readonly cache: string;
    /** Killed so long after so many lines. */
    readonly end: { readonly lines: number; readonly delayMs: number };
  },
  seen: Acknowledged,
): Promise<void> {
  const child = spawn(process.execPath, [CHILD, place.spec, life], {
    stdio: ["ignore", "pipe", "pipe"],
    // Most of a short life would go into compiling the same sources again.
    env: { ...process.env, NODE_COMPILE_CACHE: cache },
  });
  let output = "";
  let errors = "";
  const exit = new Promise<NodeJS.Signals | null>((resolve) => {
    child.on("close", (_code, signal) => resolve(signal));
  });
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
  });
  let armed = place.arm !== undefined;
  place.arm?.(() => child.kill("SIGKILL"));
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    if (armed || output.split("\n").length <= end.lines) return;
    armed = true;
    setTimeout(() => child.kill("SIGKILL"), end.delayMs);
  });
  const signal = await exit;
  assert.equal(signal, "SIGKILL", `the writing process ended by itself: ${errors}`);
  for (const line of output.split("\n").slice(0, -1)) {
    const [word = "", ...rest] = line.split(" ");
    if (word === "commit") seen.commits.push(rest.join(" "));
    if (word === "ready") seen.ready.push(rest.join(" "));
    if (word === "burned") {
      const counter = Number(rest.pop());
      const known = [...seen.burns.values()];
      assert.ok(!known.includes(counter), `burn counter ${counter} was given before`);
      seen.burns.set(rest.join(" "), counter);
    }
  }
}

async function examine(place: CrashPlace, seen: Acknowledged): Promise<number> {
  const store = await place.open();
  try {
    const left = text(await store.meta("left"));
    assert.equal(left, text(await store.meta("right")), "half of a commit is there");
    if (left !== "") assert.equal(text(await store.meta(`at ${left}`)), left);
    for (const name of seen.commits) {
      assert.equal(text(await store.meta(`at ${name}`)), name, `the acknowledged commit ${name} is gone`);
    }

    const rows = await store.audit({ from: 0, limit: 1_000_000 });
    const verdict = verifyAuditLog(rows, { ...owner, publicKey: signerOf().publicKey });
    assert.ok(verdict.ok, "the audit log does not verify");
    const subjects = new Set(rows.map((row) => Buffer.from(row.body).toString("latin1")));
    assert.equal(subjects.size, rows.length);
    assert.ok(rows.length >= seen.commits.length);

    for (const name of seen.ready) {
      assert.ok(await store.presignature(presignatureOf(name)), `the acknowledged item ${name} is gone`);
    }
    const burned = await store.presignatures({ state: "burned" });
    const counters = new Map(burned.map((row) => [row.id, row.burnCounter]));
    assert.deepEqual(
      [...counters.values()].sort((a, b) => Number(a) - Number(b)),
      Array.from(burned, (_, position) => position + 1),
      "burn counters have a gap or repeat",
    );
    assert.equal(await store.burnCounter(), burned.length);
    for (const [name, counter] of seen.burns) {
      assert.equal(
        counters.get(presignatureOf(name)),
        counter,
        `the burn of ${name} is not as it was acknowledged`,
      );
    }
    const last = [...seen.burns.keys()].at(-1);
    if (last !== undefined) {
      await assert.rejects(store.burn(presignatureOf(last), sessionOf("again"), at(2)), (error) =>
        isCairnError(error, "presignature-used"),
      );
    }
    return seen.commits.length + seen.burns.size;
  } finally {
    await store.close();
  }
}

function text(value: Uint8Array | null): string {
  return value === null ? "" : Buffer.from(value).toString();
}
