import assert from "node:assert/strict";
import { test } from "node:test";
import { type ErrorCode, isCairnError } from "@cairn/core";
import { PostgresServer } from "../test-support/index.ts";
import { LoopbackCertificates } from "./loopback-certificates.ts";
import { createPostgresPlace } from "./postgres-place.ts";

const refused = (promise: Promise<unknown>, code: ErrorCode, says: RegExp): Promise<void> =>
  assert.rejects(promise, (error) => {
    assert.ok(isCairnError(error, code), String(error));
    assert.match(error.message, says);
    return true;
  });

/** A server whose certificate is for `named`, or for itself. */
async function withTls(
  named: string | null,
  run: (scene: {
    readonly certificates: LoopbackCertificates;
    readonly place: Awaited<ReturnType<typeof createPostgresPlace>>;
    readonly server: PostgresServer;
  }) => Promise<void>,
): Promise<void> {
  const certificates = await LoopbackCertificates.create();
  const server = await PostgresServer.create({
    tls: async (host) => {
      await certificates.issue("server", named ?? host);
      return {
        certificate: await certificates.read("server.pem"),
        key: await certificates.read("server.key"),
      };
    },
  });
  try {
    await run({ certificates, server, place: await createPostgresPlace(server) });
  } finally {
    await server.remove();
    await certificates.remove();
  }
}

test("a server that proves by TLS who it is is spoken to sealed; one of an unknown authority is not", async () => {
  await withTls(null, async ({ certificates, server, place }) => {
    const sealed = { ...place.options.location, tls: { ca: certificates.path("ca.pem") } };
    const store = await place.open({ location: sealed });
    await store.commit([{ write: "meta", key: "k", value: Uint8Array.of(1) }]);
    const sessions = await server.sql(
      place.database,
      "select ssl from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'cairn'",
    );
    assert.ok(sessions.length > 0 && sessions.every(({ ssl }) => ssl === true));
    await store.close();
    await refused(
      place.open({ location: { ...sealed, tls: { ca: null } } }),
      "config-invalid",
      /sslrootcert/,
    );
    await refused(
      place.open({ location: { ...sealed, tls: { ca: certificates.path("absent.pem") } } }),
      "file-missing",
      /sslrootcert/,
    );
  });
});

test("a server with another's certificate is not spoken to", async () => {
  await withTls("192.0.2.1", async ({ certificates, place }) => {
    const location = { ...place.options.location, tls: { ca: certificates.path("ca.pem") } };
    await refused(place.open({ location }), "config-invalid", /does not prove/);
  });
});

test("a server without TLS is not spoken to where TLS is asked for", async () => {
  const certificates = await LoopbackCertificates.create();
  const server = await PostgresServer.create();
  try {
    const place = await createPostgresPlace(server);
    const location = { ...place.options.location, tls: { ca: certificates.path("ca.pem") } };
    await refused(place.open({ location }), "config-invalid", /does not prove/);
  } finally {
    await server.remove();
    await certificates.remove();
  }
});
