import { flushCompileCache } from "node:module";
import { getHeapStatistics } from "node:v8";
import { CairnError, errorCodes, isCairnError, systemClock, systemRandom } from "@cairn/core";
import { pino } from "pino";
import { CairnNode, type EngineChoice } from "./cairn-node.ts";
import { createLog, type Log } from "./create-log.ts";
import { describeConfig } from "./describe-config.ts";
import { GatheredLines } from "./gathered-lines.ts";
import { loadConfig } from "./load-config.ts";
import { parseFlags } from "./parse-flags.ts";
import { RestCollector } from "./rest-collector.ts";

/** Exit status after a second signal: 128 + SIGINT. */
const EXIT_INTERRUPTED = 130;
/** Time that an orderly stop may take before the process ends anyway. */
const STOP_LIMIT_MS = 30_000;

/**
 * The life of a daemon process: starts the node that `words` name, logs one line `node ready` once it serves, stops it in order at
 * the first SIGTERM or SIGINT (exit 0) and at once at the second. A failed start exits with the error code's exit status, an
 * error that nobody handled with that of `internal`.
 */
export async function runDaemon(words: readonly string[], engine: EngineChoice): Promise<void> {
  // Whatever this process writes is its owner's alone.
  process.umask(0o077);
  const sink = pino.destination({ dest: 1, sync: false });
  const destination = new GatheredLines({ sink, clock: systemClock });
  const end = (status: number): never => {
    destination.flushSync();
    process.exit(status);
  };
  let log = createLog({ level: "info", fields: {} }, { destination, clock: systemClock });

  const fatal = (error: unknown): never => {
    log.error("unhandled error, the process ends", { error });
    return end(errorCodes.internal.exit);
  };
  // At once: nothing that could still be done would be remembered.
  const storageFailed = (error: CairnError): never => {
    log.error("the database has failed, the process ends", { error });
    process.stderr.write(`${error.message}\n`);
    return end(errorCodes[error.code].exit);
  };
  process.on("uncaughtException", fatal);
  process.on("unhandledRejection", fatal);

  let stopping = false;
  const stopped = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.on(signal, () => {
        if (stopping) return end(EXIT_INTERRUPTED);
        stopping = true;
        resolve(signal);
      });
    }
  });

  try {
    const flags = parseFlags(words);
    if (flags.help) {
      process.stdout.write(usage());
      return;
    }
    const loaded = await loadConfig({ file: flags.file, environment: process.env, flags: flags.settings });
    const { config } = loaded;
    log = createLog(
      { level: config.log.level, fields: { node: config.node.index } },
      { destination, clock: systemClock },
    );
    warnOfOpenApi(config.api.listen, config.api.tls_key !== null, log);
    const node = await CairnNode.start(loaded, {
      engine,
      log,
      clock: systemClock,
      random: systemRandom,
      storageFailed,
    });
    collectAtRest();
    log.info("node ready", { api: node.apiUrl, peer: node.peerAddress, pid: process.pid });
    // Now rather than at the end, which a crash would skip: the next start finds its sources compiled.
    flushCompileCache();
    const signal = await stopped;
    log.info("stopping", { signal });
    systemClock.after(STOP_LIMIT_MS, () => fatal(new CairnError("timeout", "the node did not stop in time")));
    await node.close();
    log.info("stopped");
    end(0);
  } catch (error) {
    log.error("the node cannot start", { error });
    if (isCairnError(error)) process.stderr.write(`${error.message}\n`);
    end(errorCodes[isCairnError(error) ? error.code : "internal"].exit);
  }
}

/** Only where the process was started so that it may say when garbage is collected, as `daemonLaunch` does. */
function collectAtRest(): void {
  const collect = globalThis.gc;
  if (collect === undefined) return;
  new RestCollector({
    clock: systemClock,
    processorMs: () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1_000;
    },
    heapBytes: () => getHeapStatistics().total_heap_size,
    collect: () => void collect({ type: "major", flavor: "last-resort", execution: "sync" }),
  });
}

function warnOfOpenApi(listen: string, tls: boolean, log: Log): void {
  if (tls || /^(127\.|localhost:|\[::1\])/.test(listen)) return;
  log.warn(
    "the API serves plain HTTP beyond this machine: tokens can be read on the way; set api.tls_certificate",
    {
      listen,
    },
  );
}

function usage(): string {
  const keys = describeConfig().map(
    (key) =>
      `  --${key.name} (${key.type}${key.default === undefined ? "; must be set" : `; default ${JSON.stringify(key.default)}`})\n      ${key.description}\n`,
  );
  return `Runs a Cairn node.\n\n  --config FILE (default cairn.toml)\n${keys.join("")}`;
}
