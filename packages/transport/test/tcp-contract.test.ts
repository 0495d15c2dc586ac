import { TcpNetwork } from "./tcp-network.ts";
import { transportContract } from "./transport-contract.ts";

transportContract("tcp", () => TcpNetwork.open());
