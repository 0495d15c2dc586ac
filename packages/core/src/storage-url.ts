import { CairnError } from "./error.ts";

/** Where a node's store is, as `storage.url` says. */
export type StorageLocation =
  | { readonly kind: "sqlite"; readonly file: string }
  | ({ readonly kind: "postgres" } & PostgresLocation);

export interface PostgresLocation {
  /** A name, an address, or the folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  /** Null where the connection never leaves the machine; `ca` is a file, or null for the system's authorities. */
  readonly tls: { readonly ca: string | null } | null;
}

const EXAMPLE = "postgres://cairn@db.example:5432/node1?sslmode=verify-full&sslrootcert=db-ca.pem";

/**
 * Reads `sqlite:FILE` or `postgres://USER@HOST[:PORT]/DATABASE[?sslmode=…&sslrootcert=FILE]`. The host may be the percent-encoded
 * folder of a Unix socket.
 * @throws CairnError `config-invalid`, which never repeats the URL: there may be a password in it
 */
export function parseStorageUrl(text: string): StorageLocation {
  const [, file] = /^sqlite:([^\0]+)$/.exec(text) ?? [];
  if (file !== undefined) return { kind: "sqlite", file };
  if (!URL.canParse(text) || !/^postgres(ql)?:\/\//.test(text)) {
    throw refused(`is neither sqlite:FILE nor a Postgres URL; write e.g. ${EXAMPLE}`);
  }
  const url = new URL(text);
  if (url.password !== "") {
    throw refused(
      "holds a password, which processes of the machine could read: take it out, change it, and name a file of mode 0600 in storage.password_file",
    );
  }
  const host = decode(url.hostname).replace(/^\[|\]$/g, "");
  const user = decode(url.username);
  const database = decode(url.pathname.slice(1));
  if (host === "" || user === "" || database === "" || database.includes("/")) {
    throw refused(`must name user, host and database; write e.g. ${EXAMPLE}`);
  }
  const { sslmode, sslrootcert, ...others } = Object.fromEntries(url.searchParams);
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) {
    throw refused(`has the parameter ${unknown}, which is not known; there are sslmode and sslrootcert`);
  }
  const socket = host.startsWith("/");
  const local = socket || /^(127(\.\d{1,3}){3}|::1|localhost)$/.test(host);
  const mode = sslmode ?? (local ? "disable" : "verify-full");
  if (mode !== "verify-full" && !(local && mode === "disable")) {
    throw refused(
      `has sslmode=${mode}; it is verify-full, or disable on this machine alone: no other mode proves who answers`,
    );
  }
  if (socket && mode === "verify-full") throw refused("asks for TLS over a Unix socket; leave sslmode out");
  return {
    kind: "postgres",
    host,
    port: url.port === "" ? 5432 : Number(url.port),
    user,
    database,
    tls: mode === "disable" ? null : { ca: sslrootcert ?? null },
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refused("holds a broken percent-encoding");
  }
}

function refused(what: string): CairnError {
  return new CairnError("config-invalid", `storage.url ${what}`, { key: "storage.url" });
}
