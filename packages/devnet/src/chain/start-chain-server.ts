import fastify from "fastify";
import type { Chain } from "./chain.ts";
import { registerControl } from "./control.ts";
import type { EndpointFaults } from "./endpoint-faults.ts";
import { registerEsplora } from "./esplora.ts";
import type { Faucet } from "./faucet.ts";
import { registerFaultHooks } from "./fault-hooks.ts";

/** One HTTP endpoint over a chain. */
export interface ChainServerOptions {
  readonly chain: Chain;
  /** Port to listen on; 0 takes a free one. */
  readonly port: number;
  /** Address to listen on; default 127.0.0.1. */
  readonly host?: string;
  /** How this endpoint misbehaves from the start; default not at all. */
  readonly faults?: EndpointFaults;
  /** Serves `/devnet` too when given. */
  readonly faucet?: Faucet;
}

/** A running endpoint. */
export interface ChainServer {
  /** Base URL of the Esplora API, without a trailing slash. */
  readonly url: string;
  readonly port: number;
  /** Replaces the faults; `{}` makes the endpoint honest. */
  setFaults(faults: EndpointFaults): void;
  /** Stops listening and drops every connection, hanging ones too. */
  close(): Promise<void>;
}

/**
 * Starts an Esplora endpoint over `chain`. Several may share one chain; each has its own faults.
 * The control API under `/devnet` stays honest whatever the faults are.
 */
export async function startChainServer(options: ChainServerOptions): Promise<ChainServer> {
  const { chain, faucet, host = "127.0.0.1" } = options;
  let faults = options.faults ?? {};
  const setFaults = (next: EndpointFaults) => {
    faults = next;
  };
  const app = fastify({ forceCloseConnections: true, logger: { level: "error", stream: process.stderr } });
  app.register(async (scope) => {
    registerFaultHooks(scope, () => faults);
    registerEsplora(scope, { chain, faults: () => faults });
  });
  if (faucet !== undefined) {
    app.register(async (scope) => registerControl(scope, { chain, faucet, setFaults }));
  }
  const url = await app.listen({ port: options.port, host });
  return { url, port: Number(new URL(url).port), setFaults, close: () => app.close() };
}
