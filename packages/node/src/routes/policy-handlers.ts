import { decodeAddress } from "@cairn/bitcoin";
import { satsFromText } from "@cairn/client";
import { CairnError, requestHashSchema, type Sats, walletIdSchema } from "@cairn/core";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";

/** Endpoints of policy. */
export function policyHandlers(modules: ApiModules): Pick<Handlers, "checkPolicy"> {
  const { me, node } = modules;
  return {
    async checkPolicy({ body }) {
      if (body.wallet !== undefined) node.wallets.select(walletIdSchema.parse(body.wallet));
      const outputs = body.outputs.map(({ address, amountSats }, position) => {
        decodeAddress(address, modules.manifest.network);
        return { address, amountSats: readSats(amountSats, `outputs.${position}.amountSats`, 1n) };
      });
      const verdict = node.dryRun(
        { outputs, maxFeeSats: readSats(body.maxFeeSats, "maxFeeSats", 0n) },
        body.request === undefined ? null : requestHashSchema.parse(body.request),
      );
      return {
        node: me,
        decision: verdict.decision,
        rules: verdict.rules.map(({ rule, decision, explanation }) => ({ rule, decision, explanation })),
      };
    },
  };
}

function readSats(text: string, path: string, least: bigint): Sats {
  const parsed = satsFromText.safeParse(text);
  if (parsed.success && parsed.data >= least) return parsed.data;
  throw new CairnError(
    "amount-invalid",
    `${path} must be a whole number of satoshi from ${least} to 2100000000000000, as a decimal string`,
    { path },
  );
}
