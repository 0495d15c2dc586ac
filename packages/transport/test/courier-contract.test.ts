import { type NodeIndex, systemClock, type Transport } from "@cairn/core";
import { MemoryHub } from "../src/index.ts";
import { courierContract } from "./courier-contract.ts";
import { TcpNetwork } from "./tcp-network.ts";
import { testCluster } from "./test-cluster.ts";

courierContract("memory", async () => {
  const cluster = testCluster(5);
  const hub = new MemoryHub({ members: cluster.nodes.map(({ index }) => index) }, { clock: systemClock });
  return {
    cluster,
    transport: async (node: NodeIndex): Promise<Transport> => hub.join(node),
    close: async () => {},
  };
});

courierContract("tcp", () => TcpNetwork.open());
