import { z } from "zod";

/** Bitcoin networks a cluster can live on. */
export const networkSchema = z.enum(["mainnet", "testnet4", "signet", "regtest"]);
export type Network = z.output<typeof networkSchema>;
