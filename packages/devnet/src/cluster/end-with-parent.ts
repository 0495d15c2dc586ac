import { isMainThread } from "node:worker_threads";

/**
 * Loaded into a child process before its program: ends it when the pipe on its standard input does, which it does however the
 * parent ends. Its threads load this too, but have no standard input.
 */
if (isMainThread) {
  process.stdin
    .on("end", () => process.kill(process.pid, "SIGKILL"))
    .on("error", () => process.kill(process.pid, "SIGKILL"))
    .resume();
  if ("unref" in process.stdin && typeof process.stdin.unref === "function") process.stdin.unref();
}
