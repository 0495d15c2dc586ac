import type { NodeConfig } from "@cairn/core";
import type { OpenEngineOptions } from "@cairn/engine";

/** Where the engine finds the key-encryption key; `path` is absolute. */
export function keySourceOf(vault: NodeConfig["vault"], path: string): OpenEngineOptions["keySource"] {
  switch (vault.kind) {
    case "file":
      return { kind: "file", path };
    case "passphrase":
      return { kind: "passphrase-file", path };
    case "systemd-credential":
      return { kind: "credential", name: vault.path };
  }
}
