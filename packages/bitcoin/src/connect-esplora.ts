import { AgreeingChainSource } from "./agreeing-chain-source.ts";
import { EsploraClient, type EsploraModules, type EsploraOptions } from "./esplora.ts";

export interface ConnectEsploraOptions extends Omit<EsploraOptions, "url"> {
  /** Base addresses, the preferred first. */
  readonly endpoints: readonly string[];
  /** How long an endpoint that failed is left alone, in ms. 30,000 by default. */
  readonly coolDownMs?: number;
}

/**
 * A chain source over one or more Esplora endpoints of one network.
 *
 * @example
 * const chain = connectEsplora({ endpoints: ["http://127.0.0.1:3002"], network: "regtest" }, { clock: systemClock });
 * const { height } = await chain.tip();
 *
 * @throws CairnError `chain-endpoint-invalid`; RangeError without endpoints
 */
export function connectEsplora(options: ConnectEsploraOptions, modules: EsploraModules): AgreeingChainSource {
  const { endpoints, coolDownMs, ...rest } = options;
  const sources = endpoints.map((url) => new EsploraClient({ ...rest, url }, modules));
  return new AgreeingChainSource(coolDownMs === undefined ? { sources } : { sources, coolDownMs }, modules);
}
