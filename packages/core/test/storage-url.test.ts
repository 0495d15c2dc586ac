import assert from "node:assert/strict";
import { test } from "node:test";
import { isCairnError, parseStorageUrl } from "@cairn/core";

test("a storage URL names a file of sqlite or a database, with TLS wherever it leaves the machine", () => {
  const read = parseStorageUrl;
  assert.deepEqual(read("sqlite:cairn.db"), { kind: "sqlite", file: "cairn.db" });
  const there = { kind: "postgres", host: "db.example", port: 5432, user: "cairn", database: "n 1" };
  assert.deepEqual(read("postgres://cairn@db.example/n%201"), { ...there, tls: { ca: null } });
  assert.deepEqual(read("postgresql://cairn@db.example:6000/n%201?sslmode=verify-full&sslrootcert=ca.pem"), {
    ...there,
    port: 6000,
    tls: { ca: "ca.pem" },
  });
  for (const [text, host] of [
    ["postgres://cairn@127.1.2.3/n%201", "127.1.2.3"],
    ["postgres://cairn@[::1]/n%201", "::1"],
    ["postgres://cairn@localhost/n%201?sslmode=disable", "localhost"],
    ["postgres://cairn@%2Frun%2Fpostgresql/n%201", "/run/postgresql"],
  ] as const) {
    assert.deepEqual(read(text), { ...there, host, tls: null }, text);
  }
  assert.deepEqual(read("postgres://cairn@localhost/n%201?sslmode=verify-full"), {
    ...there,
    host: "localhost",
    tls: { ca: null },
  });
});

test("what a storage URL must not say is refused, and a password in it never repeated", () => {
  for (const [text, says] of [
    ["mysql://cairn@db.example/n", /neither/],
    ["sqlite:", /neither/],
    ["postgres:n", /neither/],
    ["postgres://cairn:hunter2@db.example/n", /password/],
    ["postgres://db.example/n", /user/],
    ["postgres://cairn@db.example", /database/],
    ["postgres://cairn@db.example/n/m", /database/],
    ["postgres://cairn@db.example/n?sslmode=disable", /verify-full/],
    ["postgres://cairn@db.example/n?sslmode=require", /verify-full/],
    ["postgres://cairn@127.0.0.1.example/n?sslmode=disable", /verify-full/],
    ["postgres://cairn@db.example/n?password=hunter2", /parameter password/],
    ["postgres://cairn@db.example/n?options=-c%20fsync", /parameter options/],
    ["postgres://cairn@db.example/%zz", /percent/],
    ["postgres://cairn@%2Frun/n?sslmode=verify-full", /socket/],
  ] as const) {
    assert.throws(
      () => parseStorageUrl(text),
      (error) => {
        assert.ok(isCairnError(error, "config-invalid"), text);
        assert.match(error.message, says, text);
        assert.doesNotMatch(error.message, /hunter2/);
        return true;
      },
    );
  }
});
