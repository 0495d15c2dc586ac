import { systemClock } from "@cairn/core";
import { AgreeingChainSource, connectEsplora, EsploraClient, MemoryChainSource } from "../src/index.ts";
import { chainSourceContract } from "./chain-source-contract.ts";
import { startEsploraServer } from "./esplora-server.ts";

const modules = { clock: systemClock };

chainSourceContract("memory", async () => {
  const chain = new MemoryChainSource();
  return { chain, source: chain, close: async () => {} };
});

chainSourceContract("Esplora", async () => {
  const chain = new MemoryChainSource();
  const server = await startEsploraServer(chain);
  return {
    chain,
    source: new EsploraClient({ url: server.url, network: "regtest" }, modules),
    close: server.close,
  };
});

chainSourceContract("three agreeing sources", async () => {
  const chain = new MemoryChainSource();
  return {
    chain,
    source: new AgreeingChainSource({ sources: [chain, chain, chain] }, modules),
    close: async () => {},
  };
});

chainSourceContract("two Esplora endpoints, one of them dead", async () => {
  const chain = new MemoryChainSource();
  const [server, dead] = await Promise.all([startEsploraServer(chain), startEsploraServer(chain)]);
  await dead.close();
  const source = connectEsplora({ endpoints: [dead.url, server.url], network: "regtest" }, modules);
  return { chain, source, close: server.close };
});
