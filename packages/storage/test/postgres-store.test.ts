import { after, before } from "node:test";
import { PostgresServer } from "../test-support/index.ts";
import { nodeStoreContract } from "./node-store-contract.ts";
import { createPostgresPlace } from "./postgres-place.ts";

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.create();
});
after(() => server.remove());

nodeStoreContract("postgres", async () => {
  const place = await createPostgresPlace(server);
  return { open: () => place.open(), remove: place.remove };
});
