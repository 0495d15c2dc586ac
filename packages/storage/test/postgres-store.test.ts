import { after, before } from "node:test";
import { PostgresServer } from "../test-support/index.ts";
import { nodeStoreContract } from "./node-store-contract.ts";
import { createPostgresPlace } from "./postgres-place.ts";

let server: PostgresServer;
let place: Awaited<ReturnType<typeof createPostgresPlace>>;
before(async () => {
  server = await PostgresServer.create();
  place = await createPostgresPlace(server);
});
after(() => server.remove());

nodeStoreContract("postgres", async () => ({
  // So that the test of a second store need not wait longer.
  open: () => place.open({ limits: { openMs: 2_000 } }),
  // A new database for each test would take most of its time.
  remove: async () => {
    await server.sql(place.database, "drop schema public cascade; create schema public authorization cairn");
  },
}));
