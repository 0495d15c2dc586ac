import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import type { EndpointFaults } from "./endpoint-faults.ts";

const proxyPage =
  "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>";

/** Makes a Fastify scope answer as badly as `faults` says, whatever its routes would have answered. */
export function registerFaultHooks(app: FastifyInstance, faults: () => EndpointFaults): void {
  app.addHook("onRequest", async (_request, reply) => {
    const { answer, delayMs } = faults();
    if (delayMs !== undefined) await sleep(delayMs, undefined, { ref: false });
    if (answer === "html") return reply.type("text/html").send(proxyPage);
    if (answer === "unavailable") return reply.code(503).type("text/plain").send("service unavailable");
    if (answer === "hang") reply.hijack();
  });
  app.addHook("onSend", async (_request, reply, payload: unknown) => {
    if (faults().answer !== "truncate") return payload;
    const body = Buffer.isBuffer(payload) ? payload : Buffer.from(String(payload));
    reply.header("content-length", body.length);
    return Readable.from(half(body));
  });
}

/** The first half of `body`, then a failure, upon which the server cuts the connection. */
async function* half(body: Buffer): AsyncGenerator<Buffer> {
  yield body.subarray(0, body.length >> 1);
  throw new Error("the endpoint is told to truncate its answers");
}
