import { CairnError, errorCodes, fromHex, satsSchema } from "@cairn/core";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { Chain } from "./chain.ts";
import { type EndpointFaults, endpointFaultsSchema } from "./endpoint-faults.ts";
import type { Faucet } from "./faucet.ts";
import { addressScript } from "./output-script.ts";
import { decodeTransaction } from "./transaction.ts";

/** What {@link registerControl} needs. */
export interface ControlModules {
  readonly chain: Chain;
  readonly faucet: Faucet;
  readonly setFaults: (faults: EndpointFaults) => void;
}

const mineBody = z.strictObject({
  blocks: z.number().int().min(1).max(10_000).default(1),
  address: z.string().optional(),
});
const faucetBody = z.strictObject({ address: z.string(), amountSats: satsSchema });
const reorgBody = z.strictObject({
  depth: z.number().int().min(1),
  transactions: z.array(z.string()).default([]),
});

/**
 * Adds the development chain's own API under `/devnet`: `POST /devnet/mine`, `/devnet/faucet`, `/devnet/reorg`,
 * `/devnet/faults`. It is no part of Esplora and has no access control: bind it to loopback.
 */
export function registerControl(app: FastifyInstance, { chain, faucet, setFaults }: ControlModules): void {
  app.setErrorHandler((error, request, reply) => {
    if (error instanceof z.ZodError) {
      return reply.code(400).send({ code: "malformed", message: z.prettifyError(error) });
    }
    if (error instanceof CairnError) {
      return reply
        .code(errorCodes[error.code].http)
        .send({ code: error.code, message: error.message, data: error.data });
    }
    request.log.error({ err: error }, "request failed");
    return reply.code(500).send({ code: "internal", message: "the development chain failed; see its log" });
  });

  app.post("/devnet/mine", (request) => {
    const { blocks, address } = mineBody.parse(request.body ?? {});
    const scriptPubKey = address === undefined ? faucet.scriptPubKey : addressScript(address);
    if (scriptPubKey === undefined) throw new CairnError("address-invalid", "not a regtest address");
    const mined = chain.mine({ blocks, scriptPubKey });
    return { hashes: mined.map((block) => block.hash), height: chain.tip.height };
  });

  app.post("/devnet/faucet", (request) => {
    const { address, amountSats } = faucetBody.parse(request.body);
    return { txid: faucet.pay(address, amountSats) };
  });

  app.post("/devnet/reorg", (request) => {
    const { depth, transactions } = reorgBody.parse(request.body);
    const parent = chain.blockAt(chain.tip.height - depth);
    if (parent === undefined)
      throw new CairnError("not-found", "the chain is not that long; reorganise fewer blocks");
    chain.mine({
      parent: parent.hash,
      blocks: depth + 1,
      scriptPubKey: faucet.scriptPubKey,
      transactions: transactions.map((hex) => decodeTransaction(fromHex(hex))),
    });
    return { ...chain.lastReorganisation, height: chain.tip.height };
  });

  app.post("/devnet/faults", (request) => {
    setFaults(endpointFaultsSchema.parse(request.body ?? {}));
    return {};
  });
}
