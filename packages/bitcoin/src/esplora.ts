import { type Clock, type Network, type Outpoint, satsSchema, type Txid, txidSchema } from "@cairn/core";
import { bytesToHex, hexToBytes } from "@noble/hashes/utils.js";
import { z } from "zod";
import { encodeAddress } from "./address.ts";
import { bitcoinError } from "./bitcoin-error.ts";
import type {
  ChainSource,
  ChainTip,
  FeeEstimate,
  OutspendStatus,
  ScriptActivity,
  TransactionStatus,
} from "./chain-source.ts";
import { ConcurrencyLimit } from "./concurrency-limit.ts";
import { feeRate } from "./fee-rate.ts";
import { type HttpAnswer, HttpClient, HttpFailure } from "./http-client.ts";
import { checkInclusion, type Inclusion } from "./inclusion.ts";
import { parseTransaction } from "./transaction.ts";

export interface EsploraOptions {
  /** Base address of the API, such as `https://mempool.space/testnet4/api`; http or https, without credentials. */
  readonly url: string;
  /** Network whose addresses the endpoint is asked for. */
  readonly network: Network;
  /** Time one request may take, from sending to the last byte, in ms. 10,000 by default. */
  readonly timeoutMs?: number;
  /** Most bytes of one answer. 16 MiB by default: an address with very many coins answers long. */
  readonly maxResponseBytes?: number;
  /** Requests under way at once. 8 by default. */
  readonly maxConcurrent?: number;
}

export interface EsploraModules {
  readonly clock: Clock;
  /** Ends all requests under way, at shutdown. */
  readonly signal?: AbortSignal;
  /** In place of a client of its own: whoever has the answers already. */
  readonly http?: Pick<HttpClient, "ask">;
}

const hash32 = z.string().regex(/^[0-9a-f]{64}$/);
const height = z.number().int().min(0).max(0x7fffffff);
const heightText = z
  .string()
  .regex(/^[0-9]{1,10}$/)
  .transform(Number)
  .pipe(height);
const seenStatus = z
  .union([
    z.object({ confirmed: z.literal(true), block_height: height, block_hash: hash32 }),
    z.object({ confirmed: z.literal(false) }),
  ])
  .transform(
    (status): Exclude<TransactionStatus, { state: "unknown" }> =>
      status.confirmed
        ? { state: "confirmed", blockHeight: status.block_height, blockHash: status.block_hash }
        : { state: "mempool" },
  );
const txCount = z.object({ tx_count: z.number().int().min(0) });
const addressAnswer = z.object({ chain_stats: txCount, mempool_stats: txCount });
const utxoAnswer = z.array(
  z.object({
    txid: txidSchema,
    vout: z.number().int().min(0).max(0xffffffff),
    value: satsSchema,
    status: seenStatus,
  }),
);
const transactionAnswer = z.object({ txid: txidSchema, status: seenStatus });
const outspendAnswer = z.union([
  z.object({ spent: z.literal(false) }),
  z.object({ spent: z.literal(true), txid: txidSchema.optional(), status: seenStatus.optional() }),
]);
const merkleAnswer = z.object({
  block_height: height,
  merkle: z.array(hash32).max(32),
  pos: z.number().int().min(0).max(0xffffffff),
});
const feeAnswer = z.record(z.string().regex(/^[0-9]{1,4}$/), z.number().min(0).max(100_000));

/** Answers by which nodes say that they have the transaction: as good as accepting it. */
const alreadyKnown =
  /already in (?:block ?chain|utxo set|mempool)|txn-already-(?:in-mempool|known|confirmed)|"code":\s*-27\b/i;

/**
 * One Esplora endpoint (the REST API of blockstream/electrs and mempool.space). Every answer is held against its shape,
 * raw transactions against their id; redirects are refused, so that a request never reaches another server than the one
 * that was configured. `AgreeingChainSource` puts several together.
 */
export class EsploraClient implements ChainSource {
  readonly #http: Pick<HttpClient, "ask">;
  readonly #host: string;
  readonly #network: Network;
  readonly #timeoutMs: number;
  readonly #maxResponseBytes: number;
  readonly #limit: ConcurrencyLimit;

  /** @throws CairnError `chain-endpoint-invalid` for an address that is not http(s) or holds credentials */
  constructor(options: EsploraOptions, modules: EsploraModules) {
    const url = URL.canParse(options.url) ? new URL(options.url) : undefined;
    if (
      url === undefined ||
      !["http:", "https:"].includes(url.protocol) ||
      url.username !== "" ||
      url.search !== ""
    ) {
      throw bitcoinError(
        "chain-endpoint-invalid",
        "An Esplora endpoint is an http or https address without credentials or query, such as https://mempool.space/api.",
      );
    }
    this.#host = url.host;
    this.#network = options.network;
    this.#timeoutMs = options.timeoutMs ?? 10_000;
    this.#maxResponseBytes = options.maxResponseBytes ?? 16 * 1024 * 1024;
    const maxConnections = options.maxConcurrent ?? 8;
    this.#limit = new ConcurrencyLimit(maxConnections);
    this.#http =
      modules.http ??
      new HttpClient(
        {
          base: url.href.replace(/\/+$/, ""),
          timeoutMs: this.#timeoutMs,
          maxResponseBytes: this.#maxResponseBytes,
          maxConnections,
        },
        modules,
      );
  }

  async tip(): Promise<ChainTip> {
    const at = await this.#get("/blocks/tip/height", heightText);
    // The hash of that height rather than "/blocks/tip/hash": two answers about the tip might be about two tips.
    const hash = await this.blockHash(at);
    if (hash === undefined)
      throw this.#unavailable("/block-height/:height", "its chain changed while it answered");
    return { height: at, hash };
  }

  async blockHash(at: number): Promise<string | undefined> {
    return this.#find(`/block-height/${at}`, hash32);
  }

  async scriptActivity(script: Uint8Array): Promise<ScriptActivity> {
    const address = encodeAddress(script, this.#network);
    if (address === undefined) {
      throw bitcoinError("address-malformed", "Esplora is asked by address, and this script has none.");
    }
    const [stats, utxos] = await Promise.all([
      this.#get(`/address/${address}`, addressAnswer, "json"),
      this.#get(`/address/${address}/utxo`, utxoAnswer, "json"),
    ]);
    const waits = stats.mempool_stats.tx_count > 0 || utxos.some(({ status }) => status.state === "mempool");
    return {
      used: stats.chain_stats.tx_count + stats.mempool_stats.tx_count > 0 || utxos.length > 0,
      ...(waits ? {} : { settled: stats.chain_stats.tx_count }),
      utxos: utxos.map(({ txid, vout, value, status }) => ({
        outpoint: { txid, vout },
        amountSats: value,
        status,
      })),
    };
  }

  async transactionStatus(txid: Txid): Promise<TransactionStatus> {
    // `/tx/:txid/status` says "not confirmed" of transactions that don't exist; this route does not.
    const found = await this.#find(`/tx/${txid}`, transactionAnswer, "json");
    if (found === undefined) return { state: "unknown" };
    if (found.txid !== txid) throw this.#invalid("/tx/:txid", "it describes another transaction");
    return found.status;
  }

  async outspend(outpoint: Outpoint): Promise<OutspendStatus> {
    const { txid, vout } = outpoint;
    // The route says "not spent" of outputs that don't exist, too: only a known transaction has unspent outputs.
    const [status, answer] = await Promise.all([
      this.transactionStatus(txid),
      this.#find(`/tx/${txid}/outspend/${vout}`, outspendAnswer, "json"),
    ]);
    if (status.state === "unknown" || answer === undefined) throw notFound(txid);
    if (!answer.spent) return { spent: false };
    return {
      spent: true,
      ...(answer.txid === undefined ? {} : { by: answer.txid }),
      status: answer.status ?? { state: "mempool" },
    };
  }

  async rawTransaction(txid: Txid): Promise<Uint8Array> {
    const text = await this.#find(`/tx/${txid}/hex`, z.string().regex(/^(?:[0-9a-f]{2})+$/));
    if (text === undefined) throw notFound(txid);
    const raw = hexToBytes(text);
    let actual: Txid;
    try {
      actual = parseTransaction(raw).txid;
    } catch (cause) {
      throw this.#invalid("/tx/:txid/hex", "it is no transaction", cause);
    }
    if (actual !== txid)
      throw this.#invalid("/tx/:txid/hex", "it is another transaction than the one asked for");
    return raw;
  }

  async inclusion(txid: Txid): Promise<Inclusion | undefined> {
    const status = await this.transactionStatus(txid);
    if (status.state !== "confirmed") return undefined;
    const { blockHash } = status;
    const [proof, header] = await Promise.all([
      this.#find(`/tx/${txid}/merkle-proof`, merkleAnswer, "json"),
      this.#find(`/block/${blockHash}/header`, z.string().regex(/^[0-9a-f]{160}$/)),
    ]);
    // A reorganisation between the answers takes the transaction out of its block.
    if (proof === undefined || header === undefined) return undefined;
    const { block_height: blockHeight, pos: position, merkle: siblings } = proof;
    const inclusion: Inclusion = { blockHeight, blockHash, header, position, siblings };
    try {
      checkInclusion(txid, inclusion);
    } catch (cause) {
      throw this.#invalid("/tx/:txid/merkle-proof", "it proves nothing", cause);
    }
    return inclusion;
  }

  async feeEstimates(): Promise<readonly FeeEstimate[]> {
    // Some servers that speak this dialect have no estimates at all.
    const answer = await this.#find("/fee-estimates", feeAnswer, "json");
    return Object.entries(answer ?? {})
      .map(([target, rate]) => ({ targetBlocks: Number(target), rate: feeRate(rate) }))
      .sort((a, b) => a.targetBlocks - b.targetBlocks);
  }

  async broadcast(raw: Uint8Array): Promise<Txid> {
    const { txid } = parseTransaction(raw);
    const { status, text } = await this.#request("/tx", "POST", bytesToHex(raw));
    if (status === 200) {
      if (text.trim() !== txid)
        throw this.#invalid("POST /tx", "it names another transaction than the one sent");
      return txid;
    }
    if (status >= 400 && status < 500 && status !== 429 && status !== 408) {
      if (alreadyKnown.test(text)) return txid;
      const detail = printable(text);
      throw bitcoinError("chain-rejected", `The network refuses the transaction: ${detail}`, {
        detail,
        txid,
      });
    }
    throw this.#unavailable("POST /tx", `it answered ${status}`);
  }

  async #get<T>(path: string, schema: z.ZodType<T>, form: "text" | "json" = "text"): Promise<T> {
    const found = await this.#find(path, schema, form);
    if (found === undefined) throw this.#invalid(path, "it does not know a path that every Esplora has");
    return found;
  }

  /** The parsed answer, or `undefined` where the endpoint has no such thing. */
  async #find<T>(path: string, schema: z.ZodType<T>, form: "text" | "json" = "text"): Promise<T | undefined> {
    const { status, text } = await this.#request(path, "GET");
    if (status === 404) return undefined;
    // electrs answers 400 to ids that it can't find in some versions, always with these words.
    if (status === 400 && /not found/i.test(text)) return undefined;
    if (status !== 200) throw this.#unavailable(path, `it answered ${status}`);
    let value: unknown = text.trim();
    if (form === "json") {
      try {
        value = JSON.parse(text);
      } catch (cause) {
        throw this.#invalid(path, "it is no JSON", cause);
      }
    }
    const parsed = schema.safeParse(value);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw this.#invalid(path, `it does not fit at ${issue?.path.join(".") || "its top"}`, parsed.error);
    }
    return parsed.data;
  }

  #request(path: string, method: "GET" | "POST", body?: string): Promise<HttpAnswer> {
    return this.#limit.run(async () => {
      try {
        return await this.#http.ask(method, path, body);
      } catch (error) {
        if (error instanceof HttpFailure && error.reason === "too-long")
          throw this.#invalid(path, `it is longer than ${this.#maxResponseBytes} bytes`);
        throw this.#unavailable(path, this.#why(error), error);
      }
    });
  }

  #why(error: unknown): string {
    const reason = error instanceof HttpFailure ? error.reason : "connection";
    if (reason === "redirect")
      return "it redirects; configure the address that it redirects to, if you trust it";
    return reason === "timeout" ? `it took longer than ${this.#timeoutMs} ms` : "the connection failed";
  }

  #invalid(path: string, why: string, cause?: unknown): Error {
    return bitcoinError(
      "chain-answer-invalid",
      `The answer of ${this.#host} can't be used: ${why}. Check that it is an Esplora API of this network, or use another.`,
      { endpoint: this.#host, path: route(path) },
      cause,
    );
  }

  #unavailable(path: string, why: string, cause?: unknown): Error {
    return bitcoinError(
      "chain-unavailable",
      `${this.#host} can't be asked: ${why}. Check the connection, or configure a further endpoint.`,
      { endpoint: this.#host, path: route(path) },
      cause,
    );
  }
}

function notFound(txid: Txid): Error {
  return bitcoinError("chain-not-found", "The chain source knows no transaction of this id.", { txid });
}

/** The path without ids and addresses, which logs should not gather. */
function route(path: string): string {
  return path.replace(/\/[0-9a-f]{64}/g, "/:hash").replace(/\/address\/[^/]+/, "/address/:address");
}

/** What may go into a message from a stranger's text: 200 printable ASCII characters. */
function printable(text: string): string {
  return text
    .replace(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(0, 200);
}
