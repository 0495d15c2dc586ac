import { nodeStoreContract } from "./node-store-contract.ts";
import { createSqlitePlace } from "./sqlite-place.ts";

nodeStoreContract("sqlite", createSqlitePlace);
