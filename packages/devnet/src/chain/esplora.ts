import { CairnError, fromHex, toHex, txidSchema } from "@cairn/core";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { encodeBlock } from "./block.ts";
import { encodeHeader } from "./block-header.ts";
import type { Chain, ChainBlock } from "./chain.ts";
import { ChainView } from "./chain-view.ts";
import type { EndpointFaults } from "./endpoint-faults.ts";
import { EsploraJson } from "./esplora-json.ts";
import { feeEstimates, feeHistogram } from "./fee-estimates.ts";
import { merkleProof } from "./merkle.ts";
import { addressScript } from "./output-script.ts";
import { rejection, rpcErrors } from "./rejection.ts";
import { scriptHash } from "./script-history.ts";
import { decodeTransaction, type Transaction } from "./transaction.ts";

/** What {@link registerEsplora} needs. */
export interface EsploraModules {
  readonly chain: Chain;
  /** Asked at every request. */
  readonly faults: () => EndpointFaults;
}

const confirmedPage = 25;
const waitingPage = 50;
const blocksPage = 10;
const recentPage = 10;

class Refusal extends Error {
  override readonly name = "Refusal";
  readonly status: 400 | 404;

  constructor(status: 400 | 404, message: string) {
    super(message);
    this.status = status;
  }
}

const hash = z
  .string()
  .regex(/^[0-9a-f]{64}$/i)
  .transform((text) => text.toLowerCase());
const index = z
  .string()
  .regex(/^\d{1,9}$/)
  .transform(Number);

/** Adds Esplora's REST API over `chain` to a Fastify scope, paths and answers as electrs gives them. */
export function registerEsplora(app: FastifyInstance, modules: EsploraModules): void {
  const { chain, faults } = modules;
  const view = new ChainView(chain, faults);
  const json = new EsploraJson(view);

  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "string" }, (_request, body, done) => done(null, body));
  app.setErrorHandler((error, _request, reply) => answerError(error, reply));
  app.setNotFoundHandler((request, reply) => {
    reply.code(404).type("text/plain").send(`endpoint does not exist "${request.url}"`);
  });

  app.get("/blocks/tip/height", (_request, reply) => text(reply, String(view.tip.height)));
  app.get("/blocks/tip/hash", (_request, reply) => text(reply, view.tip.hash));
  app.get("/blocks", () => blocksFrom(view.tip.height));
  app.get("/blocks/:start", (request) => blocksFrom(param(request, "start", index, "Invalid number")));
  app.get("/block-height/:height", (request, reply) => text(reply, heightParam(request).hash));

  app.get("/block/:hash", (request) => json.block(blockParam(request)));
  app.get("/block/:hash/header", (request, reply) =>
    text(reply, toHex(encodeHeader(blockParam(request).header))),
  );
  app.get("/block/:hash/status", (request) => {
    const block = view.block(param(request, "hash", hash, "Invalid hash string"));
    if (block === undefined || !view.isActive(block))
      return { in_best_chain: false, height: null, next_best: null };
    return {
      in_best_chain: true,
      height: block.height,
      next_best: view.blockAt(block.height + 1)?.hash ?? null,
    };
  });
  app.get("/block/:hash/raw", (request, reply) => binary(reply, encodeBlock(blockParam(request))));
  app.get("/block/:hash/txids", (request) => blockParam(request).transactions.map(({ txid }) => txid));
  app.get("/block/:hash/txid/:index", (request, reply) => {
    const found = blockParam(request).transactions[param(request, "index", index, "Invalid number")];
    if (found === undefined) throw new Refusal(404, "tx index out of range");
    return text(reply, found.txid);
  });
  app.get("/block/:hash/txs", (request) => blockTransactions(blockParam(request), 0));
  app.get("/block/:hash/txs/:start", (request) =>
    blockTransactions(blockParam(request), param(request, "start", index, "Invalid number")),
  );

  app.get("/tx/:txid", (request) => json.transaction(transactionParam(request)));
  app.get("/tx/:txid/hex", (request, reply) => text(reply, toHex(transactionParam(request).raw)));
  app.get("/tx/:txid/raw", (request, reply) => binary(reply, transactionParam(request).raw));
  app.get("/tx/:txid/status", (request) => json.status(view.confirmation(txidParam(request))?.block));
  app.get("/tx/:txid/outspends", (request) => {
    const { txid, outputs } = transactionParam(request);
    return outputs.map((_, vout) => json.spender(view.spender({ txid, vout })));
  });
  app.get("/tx/:txid/outspend/:vout", (request) => {
    const vout = param(request, "vout", index, "Invalid number");
    return json.spender(view.spender({ txid: txidParam(request), vout }));
  });
  app.get("/tx/:txid/merkle-proof", (request) => {
    const found = view.confirmation(txidParam(request));
    if (found === undefined) throw new Refusal(404, "Transaction not found or is unconfirmed");
    const leaves = found.block.transactions.map(({ txid }) => txid);
    return { block_height: found.block.height, ...merkleProof(leaves, found.pos) };
  });

  for (const kind of ["address", "scripthash"] as const) {
    app.get(`/${kind}/:script`, (request) => {
      const { name, hash: of } = scriptParam(request, kind);
      const { confirmed, waiting } = view.scriptTransactions(of);
      return {
        [kind]: name,
        chain_stats: json.stats(view.stats(of, confirmed)),
        mempool_stats: json.stats(view.stats(of, waiting)),
      };
    });
    app.get(`/${kind}/:script/utxo`, (request) =>
      view.unspent(scriptParam(request, kind).hash).map((coin) => json.coin(coin)),
    );
    app.get(`/${kind}/:script/txs`, (request) => {
      const { confirmed, waiting } = view.scriptTransactions(scriptParam(request, kind).hash);
      return transactions([...waiting.slice(0, waitingPage), ...confirmed.slice(0, confirmedPage)]);
    });
    app.get(`/${kind}/:script/txs/mempool`, (request) =>
      transactions(view.scriptTransactions(scriptParam(request, kind).hash).waiting.slice(0, waitingPage)),
    );
    app.get(`/${kind}/:script/txs/chain`, (request) =>
      transactions(
        view.scriptTransactions(scriptParam(request, kind).hash).confirmed.slice(0, confirmedPage),
      ),
    );
    app.get(`/${kind}/:script/txs/chain/:last_seen`, (request) => {
      const lastSeen = param(request, "last_seen", hash, "Invalid hash string");
      const { confirmed } = view.scriptTransactions(scriptParam(request, kind).hash);
      const start = confirmed.findIndex(({ txid }) => txid === lastSeen) + 1;
      return transactions(start === 0 ? [] : confirmed.slice(start, start + confirmedPage));
    });
  }

  app.get("/fee-estimates", () => {
    const estimates = feeEstimates(view.mempool());
    const { feeRate } = faults();
    if (feeRate === undefined) return estimates;
    return Object.fromEntries(Object.keys(estimates).map((target) => [target, feeRate]));
  });
  app.get("/mempool", () => {
    const entries = view.mempool();
    return {
      count: entries.length,
      vsize: entries.reduce((sum, { transaction }) => sum + transaction.vsize, 0),
      total_fee: Number(entries.reduce((sum, { feeSats }) => sum + feeSats, 0n)),
      fee_histogram: feeHistogram(entries),
    };
  });
  app.get("/mempool/txids", () => view.mempool().map(({ transaction }) => transaction.txid));
  app.get("/mempool/recent", () =>
    view
      .mempool()
      .slice(-recentPage)
      .reverse()
      .map(({ transaction: { txid, vsize, outputs }, feeSats }) => ({
        txid,
        fee: Number(feeSats),
        vsize,
        value: Number(outputs.reduce((sum, { amountSats }) => sum + amountSats, 0n)),
      })),
  );

  app.post("/tx", (request, reply) => {
    const raw = rawTransaction(request.body);
    if (faults().swallowBroadcasts === true) return text(reply, decodeTransaction(raw).txid);
    return text(reply, chain.broadcast(raw).transaction.txid);
  });

  function transactions(list: readonly Transaction[]) {
    return list.map((transaction) => json.transaction(transaction));
  }

  function blocksFrom(start: number) {
    if (view.blockAt(start) === undefined) throw new Refusal(404, "Block not found");
    const heights = Array.from({ length: Math.min(blocksPage, start + 1) }, (_, i) => start - i);
    return heights.flatMap((height) => view.blockAt(height) ?? []).map((block) => json.block(block));
  }

  function blockTransactions(block: ChainBlock, start: number) {
    if (start >= block.transactions.length) throw new Refusal(404, "start index out of range");
    if (start % confirmedPage !== 0) {
      throw new Refusal(400, `start index must be a multipication of ${confirmedPage}`);
    }
    return transactions(block.transactions.slice(start, start + confirmedPage));
  }

  function heightParam(request: FastifyRequest): ChainBlock {
    const block = view.blockAt(param(request, "height", index, "Invalid number"));
    if (block === undefined) throw new Refusal(404, "Block not found");
    return block;
  }

  function blockParam(request: FastifyRequest): ChainBlock {
    const block = view.block(param(request, "hash", hash, "Invalid hash string"));
    if (block === undefined) throw new Refusal(404, "Block not found");
    return block;
  }

  function transactionParam(request: FastifyRequest): Transaction {
    const transaction = view.transaction(txidParam(request));
    if (transaction === undefined) throw new Refusal(404, "Transaction not found");
    return transaction;
  }
}

function txidParam(request: FastifyRequest) {
  return txidSchema.parse(param(request, "txid", hash, "Invalid hash string"));
}

function scriptParam(
  request: FastifyRequest,
  kind: "address" | "scripthash",
): { name: string; hash: string } {
  const name = param(request, "script", z.string(), "Invalid script");
  if (kind === "scripthash") return { name, hash: param(request, "script", hash, "Invalid hex string") };
  const script = addressScript(name);
  if (script === undefined) throw new Refusal(400, "Invalid Bitcoin address");
  return { name, hash: scriptHash(script) };
}

function param<T>(request: FastifyRequest, name: string, schema: z.ZodType<T>, refusal: string): T {
  const parsed = z.object({ [name]: schema }).safeParse(request.params);
  const value = parsed.data?.[name];
  if (value === undefined) throw new Refusal(400, refusal);
  return value;
}

function rawTransaction(body: unknown): Uint8Array {
  try {
    return fromHex(z.string().parse(body).trim());
  } catch (cause) {
    const error = rejection(
      "TX decode failed. Make sure the tx has at least one input.",
      undefined,
      rpcErrors.deserialization,
    );
    error.cause = cause;
    throw error;
  }
}

function text(reply: FastifyReply, body: string): FastifyReply {
  return reply.type("text/plain").send(body);
}

function binary(reply: FastifyReply, body: Uint8Array): FastifyReply {
  return reply.type("application/octet-stream").send(Buffer.from(body));
}

function answerError(error: unknown, reply: FastifyReply): FastifyReply {
  if (error instanceof Refusal) return text(reply.code(error.status), error.message);
  if (error instanceof CairnError && error.code === "chain-rejected") {
    const answer = JSON.stringify({ code: error.data.rpcCode, message: error.message });
    return text(reply.code(400), `sendrawtransaction RPC error: ${answer}`);
  }
  reply.log.error({ err: error }, "request failed");
  return text(reply.code(500), "internal error");
}
