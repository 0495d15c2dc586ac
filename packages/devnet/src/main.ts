import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { clusterCoordinations, clusterStorages } from "./cluster/cluster.ts";
import { type DemoOptions, runDemo } from "./demo.ts";

const USAGE = `node packages/devnet/src/main.ts demo [--once]

  demo          a five-node wallet on this machine: keys, deposits, payments, confirmations; stays up until Ctrl-C
    --once      end after the last step; exit 0 only if all payments are confirmed
    --report F  where the report goes (default demo.json)
    --storage S where nodes keep their state: sqlite (default), or postgres: one server, a database for each
    --coordination C  where nodes show the cluster: none (default), or etcd: three members
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    once: { type: "boolean", default: false },
    report: { type: "string", default: "demo.json" },
    storage: { type: "string", default: "sqlite" },
    coordination: { type: "string", default: "none" },
    help: { type: "boolean", default: false },
  },
});
const [command, ...others] = positionals;
const storage = clusterStorages.find((name) => name === values.storage);
const coordination = clusterCoordinations.find((name) => name === values.coordination);
if (values.help) process.stdout.write(USAGE);
else if (command === "demo" && others.length === 0 && storage !== undefined && coordination !== undefined) {
  await demo({ storage, coordination });
} else {
  process.stderr.write(USAGE);
  process.exitCode = 2;
}

async function demo(servers: Pick<DemoOptions, "storage" | "coordination">): Promise<void> {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stop.abort());
  try {
    await runDemo({
      once: values.once,
      report: resolve(values.report),
      ...servers,
      out: process.stdout,
      signal: stop.signal,
    });
  } catch (error) {
    process.exitCode = stop.signal.aborted ? 130 : 1;
    if (!stop.signal.aborted) process.stderr.write(`The demo failed: ${String(error)}\n`);
  }
}
