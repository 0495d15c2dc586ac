import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { decodeCanonical, encodeCanonical } from "@cairn/core";
import { type Decoder, textDecoder } from "@cairn/core/test-support";
import { type BackupDocument, backupDocumentSchema } from "../../src/backup/backup-document.ts";
import { loadConfig } from "../../src/load-config.ts";

const folder = mkdtempSync(join(tmpdir(), "cairn-config-"));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, "cairn.toml");
const plain = join(folder, "plain.toml");

const chain = '[chain]\nendpoints = ["http://127.0.0.1:3002"]\n';
const smallest = `${chain}[node]\nindex = 1\n`;
const larger = `${smallest}data_dir = "data"

[api]
listen = "127.0.0.1:8080"
cors_origins = ["https://wallet.example"]

[[api.tokens]]
name = "ops"
role = "operator"
hash = "${"00".repeat(32)}"

[presignatures]
target = 50
refill_below = 20
`;
writeFileSync(plain, smallest);

const backupDocument: BackupDocument = {
  version: 1,
  cluster: "1".repeat(64) as BackupDocument["cluster"],
  node: 1 as BackupDocument["node"],
  identity: "2".repeat(64) as BackupDocument["identity"],
  createdAt: 1_800_000_000_000 as BackupDocument["createdAt"],
  software: "0.1.0",
  fence: { epoch: 1, burnCounter: 2, auditLength: 3 },
  auditHead: "3".repeat(64) as BackupDocument["auditHead"],
  checkpoint: null,
  settings: "{}",
  changes: [],
  manifests: [],
  keys: [],
  wallets: [],
  auxiliary: null,
  meta: [{ key: "verified-backups", value: Uint8Array.of(0x80) }],
};

/** Everything that an operator may write for a node, or have it read. */
export const decoders: readonly Decoder[] = [
  {
    name: "backup-document",
    samples: [encodeCanonical(backupDocument)],
    decode: (input) => decodeCanonical(backupDocumentSchema, input),
    encode: encodeCanonical,
  },
  textDecoder("config-file", [smallest, larger], (text) => {
    writeFileSync(file, text);
    return loadConfig({ file, environment: {}, flags: {} });
  }),
  textDecoder(
    "config-environment",
    ["NODE__INDEX=3", "API__CORS_ORIGINS=https://a.example,https://b.example"],
    (text) => {
      const [name = "", ...value] = text.split("=");
      return loadConfig({ file: plain, environment: { [`CAIRN_${name}`]: value.join("=") }, flags: {} });
    },
  ),
  textDecoder("config-flag", ["api.listen=[::1]:8080", 'api.cors_origins=["https://a.example"]'], (text) => {
    const [name = "", ...value] = text.split("=");
    return loadConfig({ file: plain, environment: {}, flags: { [name]: value.join("=") } });
  }),
];
