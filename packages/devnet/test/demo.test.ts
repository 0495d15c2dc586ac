import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { verifyInput } from "@cairn/native-script";
import { z } from "zod";
import { runDemo } from "../src/demo.ts";

const hex = z.string().regex(/^([0-9a-f]{2})+$/);
const reportSchema = z.strictObject({
  transactions: z.array(
    z.strictObject({
      keyType: z.enum(["ecdsa", "frost"]),
      txid: hex.length(64),
      rawTx: hex,
      inputs: z
        .array(z.strictObject({ amountSats: z.string().regex(/^[1-9][0-9]*$/), scriptPubKey: hex }))
        .min(1),
      confirmations: z.number().int().min(1),
      signers: z.array(z.number().int()).length(4),
      timingsMs: z.record(z.string(), z.number()),
    }),
  ),
  refusedWithTwoNodesDown: z.literal(true),
  nodes: z
    .array(z.strictObject({ index: z.number(), pid: z.number().min(1), rssBytes: z.number().min(1_000_000) }))
    .length(5),
});

test("the demo pays from both kinds of key with five and with four nodes, its report verifies by itself, and it stays up until told to end", async () => {
  const dir = await mkdtemp(join(tmpdir(), "cairn-demo-test-"));
  const path = join(dir, "demo.json");
  const stop = new AbortController();
  let shown = "";
  let alive: Promise<Response> | null = null;
  const write = (text: unknown): boolean => {
    shown += String(text);
    const [, url] = /The cluster stays up at (\S+);/.exec(shown) ?? [];
    if (url !== undefined) alive ??= fetch(`${url}/health`).finally(() => stop.abort());
    return true;
  };
  try {
    await runDemo({ once: false, report: path, level: "reduced", signal: stop.signal, out: { write } });
    const health = z.object({ peersUp: z.literal(4) });
    assert.ok(alive !== null);
    health.parse(await (await (alive as Promise<Response>)).json());
    const report = reportSchema.parse(JSON.parse(await readFile(path, "utf8")));
    assert.deepEqual(
      report.transactions.map(({ keyType }) => keyType),
      ["frost", "ecdsa", "frost", "ecdsa"],
    );
    for (const { rawTx, inputs, txid } of report.transactions) {
      const spent = inputs.map(({ amountSats, scriptPubKey }) => ({
        amountSats: BigInt(amountSats),
        scriptPubKey: Buffer.from(scriptPubKey, "hex"),
      }));
      inputs.forEach((_, at) => {
        verifyInput(Buffer.from(rawTx, "hex"), at, spent);
      });
      assert.ok(shown.includes(txid));
    }
    assert.match(shown, /nothing was signed/);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test("a demo that is told to end at its start ends, and leaves no report", async () => {
  const dir = await mkdtemp(join(tmpdir(), "cairn-demo-test-"));
  const path = join(dir, "demo.json");
  try {
    const running = runDemo({
      once: true,
      report: path,
      level: "reduced",
      signal: AbortSignal.abort(),
      out: { write: () => true },
    });
    await assert.rejects(running, { name: "AbortError" });
    await assert.rejects(readFile(path), { code: "ENOENT" });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
