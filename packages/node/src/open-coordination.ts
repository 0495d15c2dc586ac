import { resolve } from "node:path";
import type { Clock, ClusterId, Random } from "@cairn/core";
import type { Coordination } from "@cairn/storage";
import type { LoadedConfig } from "./load-config.ts";
import { readPublicFile, readSecretFile } from "./read-configured-file.ts";

/** For how long a leader that fell silent keeps its office. */
const TERM_MS = 5_000;

/**
 * Opens the coordination that the configuration names, or null for none. Nothing is asked of it yet: a node starts without it.
 * @throws CairnError `file-missing`, `file-mode`
 */
export async function openCoordination(
  { config: { coordination }, folder }: LoadedConfig,
  cluster: ClusterId,
  modules: { readonly clock: Clock; readonly random: Random; readonly report: (cause: unknown) => void },
): Promise<Coordination | null> {
  if (coordination.type === "none") return null;
  const { ca_file, cert_file, key_file, user, password_file } = coordination;
  const read = (file: string | null) => (file === null ? null : readPublicFile(resolve(folder, file)));
  const readSecret = (file: string | null) => (file === null ? null : readSecretFile(resolve(folder, file)));
  const authority = await read(ca_file);
  const certificate = await read(cert_file);
  const key = await readSecret(key_file);
  const password = await readSecret(password_file);
  // Loaded only here: its libraries would cost every other daemon memory.
  const { openEtcdCoordination } = await import("@cairn/storage/etcd");
  return openEtcdCoordination(
    {
      endpoints: coordination.endpoints,
      prefix: coordination.prefix ?? `/cairn/${cluster}`,
      timeoutMs: coordination.timeout_ms,
      termMs: TERM_MS,
      tls:
        authority === null
          ? null
          : { authority, client: certificate === null || key === null ? null : { certificate, key } },
      user:
        user === null || password === null
          ? null
          : { name: user, password: new TextDecoder().decode(password).trimEnd() },
    },
    modules,
  );
}
