/**
 * Preloaded into a daemon (`--import`), counts what it does: keys, ciphers and signatures of node:crypto, requests to the database's thread,
 * messages by kind, encodings and checks of shapes. On SIGUSR2 it logs the counts, as a line with the message `work`, and begins anew.
 */
import crypto from "node:crypto";
import { registerHooks, syncBuiltinESMExports } from "node:module";
import { isMainThread, Worker } from "node:worker_threads";

const counts: Record<string, number> = {};

function count(name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

/** Statements in sources before which a count is put. */
const counted: readonly (readonly [file: string, statement: string, name: string])[] = [
  ["/core/src/canonical.ts", "return dagCbor.encode(value);", '"encoded"'],
  ["/core/src/canonical.ts", "raw = dagCbor.decode(bytes);", '"decoded"'],
  ["/core/src/canonical.ts", "const parsed = schema.safeParse(value);", '"shapes checked"'],
  ["/transport/src/send-lane.ts", "metrics.messagesSent.inc({ kind });", '"message " + kind'],
];

if (isMainThread) {
  const functions = {
    createCipheriv: "sealed",
    createDecipheriv: "opened",
    sign: "signed",
    verify: "verified",
  };
  const library: Record<string, unknown> = crypto as never;
  for (const [name, what] of Object.entries(functions)) {
    const real = library[name] as (...parameters: unknown[]) => unknown;
    library[name] = (...parameters: unknown[]) => {
      count(what);
      return real(...parameters);
    };
  }
  syncBuiltinESMExports();
  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (this: Worker, message: { kind?: string }, ...rest) {
    if (message.kind === "commit") count("commits");
    if (message.kind === "query") count("queries");
    return post.call(this, message, ...rest);
  };
  Object.assign(globalThis, { countWork: count });
  registerHooks({
    load(url, context, next) {
      const loaded = next(url, context);
      const here = counted.filter(([file]) => url.endsWith(file));
      if (here.length === 0) return loaded;
      let source = String(loaded.source);
      for (const [file, statement, name] of here) {
        if (!source.includes(statement)) throw new Error(`${file} has no statement ${statement}`);
        source = source.replace(statement, `globalThis.countWork(${name}); ${statement}`);
      }
      return { ...loaded, source };
    },
  });
  process.on("SIGUSR2", () => {
    process.stdout.write(`${JSON.stringify({ level: "info", message: "work", counts })}\n`);
    for (const name of Object.keys(counts)) delete counts[name];
  });
}
