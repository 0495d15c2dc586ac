#!/usr/bin/env node
import { parseArgs } from "node:util";
import { systemClock, systemRandom } from "@cairn/core";
import { z } from "zod";
import { createDevnetChain } from "./create-devnet-chain.ts";

const { values } = parseArgs({
  options: {
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", multiple: true, default: ["3002"] },
    "initial-blocks": { type: "string", default: "120" },
    "block-interval-ms": { type: "string" },
  },
});
const options = z
  .object({
    host: z.string(),
    port: z.array(z.coerce.number().int().min(0).max(65_535)).min(1),
    "initial-blocks": z.coerce.number().int().min(0).max(10_000),
    "block-interval-ms": z.coerce.number().int().min(10).optional(),
  })
  .parse(values);

const blockIntervalMs = options["block-interval-ms"];
const devnet = await createDevnetChain(
  {
    host: options.host,
    ports: options.port,
    initialBlocks: options["initial-blocks"],
    ...(blockIntervalMs !== undefined && { blockIntervalMs }),
  },
  { clock: systemClock, random: systemRandom },
);
process.stdout.write(
  `${JSON.stringify({ endpoints: devnet.endpoints.map(({ url }) => url), faucet: devnet.faucet.address })}\n`,
);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    devnet.close().catch((error: unknown) => {
      process.stderr.write(`The chain did not stop cleanly: ${String(error)}\n`);
      process.exitCode = 1;
    });
  });
}
