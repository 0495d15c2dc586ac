/**
 * Verifies the export of a log of many entries, beside a bare loop that hashes the same bytes and verifies the same signatures. Prints one line
 * of JSON: entries a second of both, and the megabytes that the process grew by.
 *
 *   node --max-old-space-size=48 bench/audit.ts 1000000    shows that memory does not grow with the log
 */
import { createHash, createPublicKey, verify } from "node:crypto";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { verifyAuditExports } from "@cairn/cli";
import {
  AUDIT_ROOT,
  type AuditEntry,
  auditEntryHash,
  auditHeaderLine,
  auditManifestLine,
  encodeCanonical,
  fromHex,
  type HashHex,
  manifestHash,
  nodeIndexSchema,
  systemClock,
} from "@cairn/core";
import { namedSigner, testManifest } from "@cairn/core/test-support";

const count = Number(process.argv[2] ?? 20_000);
const TAG = Buffer.from("cairn/audit/v1\0", "utf8");
const PAGE = 1_000;
/** DER before the 32 bytes of an Ed25519 public key (RFC 8410). */
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

const signer = namedSigner("node 1");
const manifest = testManifest(
  ["node 1", "node 2"].map((name) => ({ identity: namedSigner(name).publicKey })),
);
const trusted = manifestHash(manifest);
const node = nodeIndexSchema.parse(1);
const folder = await mkdtemp(join(tmpdir(), "cairn-bench-audit-"));
try {
  const path = join(folder, "export.jsonl");
  const file = await open(path, "w");
  // Only so many are kept for the bare loop that memory says something about the verifier.
  const kept: { readonly bytes: Buffer; readonly signature: Uint8Array }[] = [];
  const founding = auditManifestLine({
    sequence: 0,
    hash: trusted,
    body: encodeCanonical({ manifest, signatures: [] }),
  });
  // The header comes first and names the newest hash, so its place is filled in last.
  const header = (head: HashHex) => auditHeaderLine({ cluster: manifest.cluster, node, length: count, head });
  await file.appendFile(`${header(AUDIT_ROOT)}\n${founding}\n`);
  const lines: string[] = [];
  let previous: HashHex = AUDIT_ROOT;
  for (let seq = 0; seq < count; seq += 1) {
    const entry: AuditEntry = {
      version: 1,
      cluster: manifest.cluster,
      node,
      seq,
      previous,
      at: systemClock.now(),
      kind: "vote-cast",
      subject: previous,
      data: { round: 1, approve: true, reason: null },
    };
    previous = auditEntryHash(entry);
    const signature = signer.sign("cairn/audit/v1", entry);
    if (kept.length < PAGE) {
      kept.push({ bytes: Buffer.concat([TAG, encodeCanonical(entry)]), signature: fromHex(signature) });
    }
    lines.push(JSON.stringify({ entry, signature }));
    if (lines.length === PAGE || seq === count - 1) await file.appendFile(`${lines.splice(0).join("\n")}\n`);
  }
  await file.close();
  const first = await open(path, "r+");
  await first.write(header(previous), 0);
  await first.close();

  const key = createPublicKey({
    key: Buffer.concat([SPKI, fromHex(signer.publicKey)]),
    format: "der",
    type: "spki",
  });
  let started = performance.now();
  for (const { bytes, signature } of kept) {
    createHash("sha256").update(bytes).digest();
    if (!verify(null, bytes, key, signature)) throw new Error("a signature does not verify");
  }
  const bare = (1_000 * kept.length) / (performance.now() - started);

  const before = process.memoryUsage().rss;
  started = performance.now();
  const [verified] = await verifyAuditExports([path], trusted);
  const full = (1_000 * count) / (performance.now() - started);
  if (verified?.finding !== null) throw new Error(`the export does not verify: ${verified?.finding.message}`);
  const grown = (process.memoryUsage().rss - before) / 2 ** 20;
  process.stdout.write(`${JSON.stringify({ entries: count, verified: full, bare, grownMb: grown })}\n`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
