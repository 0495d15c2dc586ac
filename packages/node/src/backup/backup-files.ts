import type { NodeConfig } from "@cairn/core";

/** A file that the configuration names, and its name in a backup and in the folder that a restore makes. */
export interface BackedUpFile {
  readonly name: string;
  readonly secret: boolean;
  /** Name in the configuration; null where there is none. */
  readonly of: (config: NodeConfig) => string | null;
  readonly section: "files" | "api" | "coordination";
  readonly key: string;
}

function file<Section extends BackedUpFile["section"]>(
  name: string,
  section: Section,
  key: keyof NodeConfig[Section] & string,
  secret: boolean,
): BackedUpFile {
  return {
    name,
    secret,
    section,
    key,
    of: (config) => {
      const value: unknown = config[section][key];
      return typeof value === "string" ? value : null;
    },
  };
}

/** Every file of a node's folder that a backup holds. Neither the key-encryption key nor a database's password is among them. */
export const backedUpFiles: readonly BackedUpFile[] = [
  file("manifest.cbor", "files", "manifest", false),
  file("policy.cbor", "files", "policy", false),
  file("identity.pem", "files", "identity", true),
  file("sealing.pem", "files", "sealing", true),
  file("certificate.pem", "files", "certificate", false),
  file("ca.pem", "files", "authority", false),
  file("api-certificate.pem", "api", "tls_certificate", false),
  file("api-key.pem", "api", "tls_key", true),
  file("etcd-ca.pem", "coordination", "ca_file", false),
  file("etcd-certificate.pem", "coordination", "cert_file", false),
  file("etcd-key.pem", "coordination", "key_file", true),
  file("etcd-password", "coordination", "password_file", true),
];
