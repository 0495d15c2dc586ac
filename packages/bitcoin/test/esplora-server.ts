import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { txidSchema } from "@cairn/core";
import {
  type ChainUtxo,
  decodeAddress,
  type MemoryChainSource,
  parseTransaction,
  satsPerVbyte,
} from "../src/index.ts";

/** Answers a request in the chain's stead; `false` leaves it to the chain. */
export type Intercept = (request: IncomingMessage, response: ServerResponse) => boolean;

export interface EsploraServer {
  readonly url: string;
  /** Paths asked for, in order. */
  readonly requests: string[];
  intercept: Intercept;
  close(): Promise<void>;
}

type Answer = { readonly status: number; readonly body: string };
const ok = (value: unknown): Answer => ({
  status: 200,
  body: typeof value === "string" ? value : JSON.stringify(value),
});
const notFound: Answer = { status: 404, body: "Transaction not found" };

function statusOf(status: ChainUtxo["status"]) {
  return status.state === "confirmed"
    ? { confirmed: true, block_height: status.blockHeight, block_hash: status.blockHash, block_time: 0 }
    : { confirmed: false };
}

/** Serves `chain` on a free port of the loopback, in the dialect of Esplora. */
export async function startEsploraServer(chain: MemoryChainSource): Promise<EsploraServer> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(request.url ?? "");
    if (state.intercept(request, response)) return;
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      answer(chain, request.method ?? "", request.url ?? "", Buffer.concat(chunks).toString("utf8")).then(
        ({ status, body }) => response.writeHead(status).end(body),
        (error: unknown) =>
          response.writeHead(400).end(error instanceof Error ? error.message : String(error)),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const state: EsploraServer = {
    url: `http://127.0.0.1:${port}`,
    requests,
    intercept: () => false,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error === undefined ? resolve() : reject(error)));
        server.closeAllConnections();
      }),
  };
  return state;
}

async function answer(chain: MemoryChainSource, method: string, path: string, body: string): Promise<Answer> {
  if (method === "POST" && path === "/tx") return post(chain, body);
  if (path === "/blocks/tip/height") return ok(String((await chain.tip()).height));
  if (path === "/fee-estimates") {
    const estimates = await chain.feeEstimates();
    return ok(
      Object.fromEntries(estimates.map(({ targetBlocks, rate }) => [targetBlocks, satsPerVbyte(rate)])),
    );
  }
  const [, resource = "", id = "", action, argument] = path.split("/");
  if (resource === "block-height") {
    const hash = await chain.blockHash(Number(id));
    return hash === undefined ? { status: 404, body: "Block not found" } : ok(hash);
  }
  if (resource === "address") {
    const { used, utxos, settled } = await chain.scriptActivity(decodeAddress(id, "regtest").script);
    if (action === undefined) {
      const waiting = used && settled === undefined ? 1 : 0;
      return ok({ chain_stats: { tx_count: settled ?? 0 }, mempool_stats: { tx_count: waiting } });
    }
    return ok(
      utxos.map(({ outpoint, amountSats, status }) => ({
        ...outpoint,
        value: Number(amountSats),
        status: statusOf(status),
      })),
    );
  }
  if (resource === "block" && action === "header") {
    const header = chain.header(id);
    return header === undefined ? { status: 404, body: "Block not found" } : ok(header);
  }
  if (resource !== "tx") return { status: 404, body: "no such path" };
  const txid = txidSchema.parse(id);
  const status = await chain.transactionStatus(txid);
  if (action === "outspend") {
    // As electrs does: an unknown output is "not spent".
    if (status.state === "unknown") return ok({ spent: false });
    const outspend = await chain.outspend({ txid, vout: Number(argument) });
    return ok(
      outspend.spent
        ? { spent: true, txid: outspend.by, vin: 0, status: statusOf(outspend.status) }
        : outspend,
    );
  }
  if (status.state === "unknown") return notFound;
  if (action === "merkle-proof") {
    const found = await chain.inclusion(txid);
    if (found === undefined) return notFound;
    return ok({ block_height: found.blockHeight, merkle: found.siblings, pos: found.position });
  }
  if (action === "hex") return ok(Buffer.from(await chain.rawTransaction(txid)).toString("hex"));
  return ok({ txid, version: 2, status: statusOf(status) });
}

async function post(chain: MemoryChainSource, body: string): Promise<Answer> {
  const raw = Uint8Array.from(Buffer.from(body, "hex"));
  const status = await chain.transactionStatus(parseTransaction(raw).txid);
  const refuse = (code: number, message: string) => ({
    status: 400,
    body: `sendrawtransaction RPC error: {"code":${code},"message":"${message}"}`,
  });
  if (status.state === "confirmed") return refuse(-27, "Transaction outputs already in utxo set");
  if (status.state === "mempool") return refuse(-26, "txn-already-in-mempool");
  try {
    return ok(await chain.broadcast(raw));
  } catch (error) {
    return refuse(-26, error instanceof Error ? error.message : String(error));
  }
}
