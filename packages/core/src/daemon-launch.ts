import { fileURLToPath } from "node:url";

/** How a daemon's process is started, see {@link daemonLaunch}. */
export interface DaemonLaunch {
  /** Options of Node itself, before the program. */
  readonly nodeOptions: readonly string[];
  /** What the environment holds beside what it holds already. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Compiled sources, beside the sources and of the same owner. */
const COMPILED = fileURLToPath(new URL("../../../.cache/compiled", import.meta.url));

/**
 * Starts a daemon that rests in little memory.
 *
 * - `--max-semi-space-size=4`: a daemon handles many short messages; by default V8 lets the heap of young objects grow to 48 MB for them and
 *   keeps it.
 * - `--expose-gc`: a daemon collects its garbage when it comes to rest. `--optimize-for-size`, which keeps the heap as small all the time, costs
 *   a quarter more processor time under load.
 * - `NODE_COMPILE_CACHE`: what an earlier start has stripped of its types is not stripped again, so that the compiler which does it
 *   (some 40 MB) is not loaded. Entries are looked up by the source's hash: changed sources are compiled anew. The folder may be set to another one,
 *   which must be as well guarded as the sources, since code is run from it.
 * - `MALLOC_*`: glibc gives back what presigning used, rather than keeping it for each thread that took part.
 */
export function daemonLaunch(environment: Readonly<Record<string, string | undefined>>): DaemonLaunch {
  const defaults = {
    NODE_COMPILE_CACHE: COMPILED,
    MALLOC_ARENA_MAX: "2",
    MALLOC_TRIM_THRESHOLD_: "65536",
    MALLOC_MMAP_THRESHOLD_: "65536",
  };
  return {
    nodeOptions: ["--max-semi-space-size=4", "--expose-gc"],
    environment: Object.fromEntries(
      Object.entries(defaults).map(([name, value]) => [name, environment[name] ?? value]),
    ),
  };
}
