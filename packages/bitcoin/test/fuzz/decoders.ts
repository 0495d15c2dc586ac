import assert from "node:assert/strict";
import { systemClock } from "@cairn/core";
import { type Decoder, jsonDecoder, textDecoder } from "@cairn/core/test-support";
import { RawTx } from "@scure/btc-signer/script.js";
import {
  buildPsbt,
  checkPsbt,
  decodeAddress,
  EsploraClient,
  encodeAddress,
  encodeEcdsaSignature,
  encodeOutputScript,
  encodePsbt,
  feeRate,
  MemoryChainSource,
  type ParsedTransaction,
  parseDescriptor,
  parsePsbt,
  parseTransaction,
  psbtToBase64,
} from "../../src/index.ts";
import { fundedChain, rulesFor, strangerKey, testWallet } from "../test-wallet.ts";
import bip174 from "../vectors/bip174.json" with { type: "json" };
import bip371 from "../vectors/bip371.json" with { type: "json" };

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"));
const published = [...bip174.valid, ...bip371.valid].map(({ psbt }) => psbt);

function spend(kind: "wpkh" | "tr") {
  const { descriptor } = testWallet(kind);
  const { coins } = fundedChain(descriptor, [100_000n, 50_000n]);
  const { script, address } = strangerKey("wpkh", 1);
  const psbt = buildPsbt({
    descriptor,
    coins,
    recipients: [{ script, amountSats: 90_000n }],
    change: { amountSats: 58_000n, index: 0, position: 1 },
    lockTime: 0,
  });
  const rules = rulesFor(descriptor, [{ address, amountSats: 90_000n }]);
  return { rules, samples: [encodePsbt(psbt, 0), encodePsbt(psbt, 2)] };
}

/** The check before signing: only an exact, whole spend passes. */
function checked(kind: "wpkh" | "tr"): Decoder {
  const { rules, samples } = spend(kind);
  return { name: `check-psbt-${kind}`, samples, decode: (input) => checkPsbt(input, rules) };
}

const receiver = strangerKey("tr", 2);
const transaction = new MemoryChainSource().fund(receiver.script, 5_000n);
const unspent = {
  txid: transaction.txid,
  vout: 0,
  value: 5_000,
  status: { confirmed: true, block_height: 7, block_hash: "00".repeat(32) },
};
const addressStats = { chain_stats: { tx_count: 1 }, mempool_stats: { tx_count: 0 } };

/** One question to Esplora, to which the input is the answer: to all paths, or its members to the paths that end like them. */
function answer(
  name: string,
  sample: unknown,
  ask: (client: EsploraClient) => Promise<unknown>,
  members: readonly string[] = [],
): Decoder {
  return jsonDecoder(`esplora-${name}`, [sample], (text) =>
    ask(clientWhoseAnswers((path) => memberOf(text, path, members))),
  );
}

function clientWhoseAnswers(are: (path: string) => string): EsploraClient {
  const http = { ask: async (_method: string, path: string) => ({ status: 200, text: are(path) }) };
  return new EsploraClient(
    { url: "http://esplora.invalid", network: "regtest" },
    { clock: systemClock, http },
  );
}

function memberOf(text: string, path: string, members: readonly string[]): string {
  const member = members.find((name) => path.endsWith(name));
  if (member === undefined) return text;
  try {
    return JSON.stringify(JSON.parse(text)[member]) ?? "";
  } catch {
    return text; // spoilt beyond JSON: every path gets it as it is
  }
}

/** A question whose answer is plain text, not JSON. */
function plainAnswer(
  name: string,
  sample: string,
  ask: (client: EsploraClient) => Promise<unknown>,
): Decoder {
  return textDecoder(`esplora-${name}`, [sample], (text) => ask(clientWhoseAnswers(() => text)));
}

/** Everything in this package that reads bytes or text of strangers. */
export const decoders: readonly Decoder[] = [
  {
    name: "psbt",
    samples: [
      ...published.map((text) => new Uint8Array(Buffer.from(text, "base64"))),
      ...spend("tr").samples,
    ],
    // Records may come in any order, but the writer sorts them: what was written once is written the same again.
    decode: (input) => {
      const psbt = parsePsbt(input);
      const written = encodePsbt(psbt);
      // Nothing is lost or written longer than need be; a version 0 that is spelt out (7 bytes) goes without saying.
      const lost = input.length - written.length;
      assert.ok(psbt.version === 2 || lost === 0 || lost === 7, `${lost} bytes were lost`);
      assert.deepEqual(encodePsbt(parsePsbt(written)), written);
    },
  },
  textDecoder("psbt-text", [...published, ...spend("wpkh").samples.map(psbtToBase64)], (text) =>
    parsePsbt(text),
  ),
  checked("wpkh"),
  checked("tr"),
  {
    name: "transaction",
    samples: [bytes(bip174.extracted), transaction.raw],
    decode: parseTransaction,
    encode: ({ raw }: ParsedTransaction) => RawTx.encode(RawTx.decode(raw)),
  },
  textDecoder(
    "descriptor",
    (["wpkh", "tr"] as const).map((kind) => testWallet(kind).descriptor.text),
    (text) => parseDescriptor(text, "regtest"),
  ),
  textDecoder(
    "address",
    [
      strangerKey("wpkh", 3).address,
      strangerKey("tr", 3).address,
      encodeAddress(encodeOutputScript({ type: "p2pkh", program: new Uint8Array(20).fill(7) }), "regtest") ??
        "",
      encodeAddress(encodeOutputScript({ type: "p2sh", program: new Uint8Array(20).fill(7) }), "regtest") ??
        "",
    ],
    (text) => ({ text, script: decodeAddress(text, "regtest").script }),
    ({ text, script }) => {
      const canonical = encodeAddress(script, "regtest") ?? "";
      // Segwit addresses may be all capitals (BIP-173).
      return canonical.startsWith("bcrt1") && canonical === text.toLowerCase() ? text : canonical;
    },
  ),
  {
    name: "ecdsa-signature",
    samples: [new Uint8Array(64).fill(1)],
    decode: encodeEcdsaSignature,
  },
  textDecoder("fee-rate", ["1", "12.345", "100000"], (text) => feeRate(Number(text))),
  plainAnswer("block-hash", "00".repeat(32), (client) => client.blockHash(7)),
  answer(
    "script-activity",
    { "/utxo": [unspent], [`/address/${receiver.address}`]: addressStats },
    (client) => client.scriptActivity(receiver.script),
    ["/utxo", `/address/${receiver.address}`],
  ),
  answer("transaction-status", { txid: transaction.txid, status: unspent.status }, (client) =>
    client.transactionStatus(transaction.txid),
  ),
  answer(
    "outspend",
    {
      [`/tx/${transaction.txid}`]: { txid: transaction.txid, status: unspent.status },
      "/outspend/0": { spent: true, txid: transaction.txid, status: unspent.status },
    },
    (client) => client.outspend({ txid: transaction.txid, vout: 0 }),
    ["/outspend/0", `/tx/${transaction.txid}`],
  ),
  answer("fee-estimates", { "1": 12.5, "144": 1 }, (client) => client.feeEstimates()),
  plainAnswer("broadcast", transaction.txid, (client) => client.broadcast(transaction.raw)),
  plainAnswer("raw-transaction", Buffer.from(transaction.raw).toString("hex"), (client) =>
    client.rawTransaction(transaction.txid),
  ),
];
