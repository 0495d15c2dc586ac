import type { Clock, Random, Timer } from "@cairn/core";
import { Chain } from "./chain.ts";
import { Faucet } from "./faucet.ts";
import { type ChainServer, startChainServer } from "./start-chain-server.ts";

/** Choices of {@link createDevnetChain}. */
export interface DevnetChainOptions {
  /** Address that every endpoint listens on; default 127.0.0.1. */
  readonly host?: string;
  /** One endpoint for each port; 0 takes a free one. Default one endpoint on a free port. */
  readonly ports?: readonly number[];
  /** Blocks to mine for the faucet before the endpoints open; default 120, which leaves it 20 mature coins. */
  readonly initialBlocks?: number;
  /** Milliseconds between blocks that come by themselves; none come when left out. */
  readonly blockIntervalMs?: number;
  /** Whether transactions that did not signal it can be replaced; default true. */
  readonly fullRbf?: boolean;
}

/** What {@link createDevnetChain} needs. */
export interface DevnetChainModules {
  readonly clock: Clock;
  readonly random: Random;
}

/** A running development chain. */
export interface DevnetChain {
  readonly chain: Chain;
  readonly faucet: Faucet;
  /** One a port, in the order of `ports`. */
  readonly endpoints: readonly ChainServer[];
  /** Stops the endpoints and the mining. */
  close(): Promise<void>;
}

const defaultInitialBlocks = 120;

/**
 * Starts a regtest chain with a funded faucet and its Esplora endpoints.
 *
 * @example
 * const devnet = await createDevnetChain({ ports: [0, 0] }, { clock: systemClock, random: systemRandom });
 * const txid = devnet.faucet.pay(address, 50_000n);
 * devnet.faucet.mine(1);
 */
export async function createDevnetChain(
  options: DevnetChainOptions,
  modules: DevnetChainModules,
): Promise<DevnetChain> {
  const chain = new Chain({ fullRbf: options.fullRbf ?? true }, modules);
  const faucet = new Faucet({}, { chain, random: modules.random });
  const initialBlocks = options.initialBlocks ?? defaultInitialBlocks;
  if (initialBlocks > 0) faucet.mine(initialBlocks);

  const endpoints: ChainServer[] = [];
  const close = async () => {
    timer?.cancel();
    await Promise.all(endpoints.map((endpoint) => endpoint.close()));
  };
  let timer: Timer | undefined;
  try {
    for (const port of options.ports ?? [0]) {
      endpoints.push(
        await startChainServer({
          chain,
          faucet,
          port,
          ...(options.host !== undefined && { host: options.host }),
        }),
      );
    }
  } catch (error) {
    await close();
    throw error;
  }
  const { blockIntervalMs } = options;
  if (blockIntervalMs !== undefined) {
    const mineLater = () => {
      timer = modules.clock.after(blockIntervalMs, () => {
        faucet.mine(1);
        mineLater();
      });
    };
    mineLater();
  }
  return { chain, faucet, endpoints, close };
}
