import { mergeSettings, type NodeSettings } from "@cairn/cli";
import type { PolicyLimits } from "@cairn/core";
import { type Cluster, startCluster } from "../../src/cluster/cluster.ts";

/** Times for a chain on this machine and rounds that take moments. */
const settings = {
  api: { rate_per_minute: 100_000 },
  chain: { poll_ms: 400 },
  consensus: { round_ms: 4_000, recheck_ms: 200 },
  signing: {
    threads: 2,
    slot_ms: 2_000,
    ack_ms: 3_000,
    round_ms: 15_000,
    session_ms: 40_000,
    keygen_round_ms: 60_000,
    keygen_session_ms: 120_000,
  },
  presignatures: { target: 0, refill_below: 0, batch: 2, check_ms: 2_000 },
  primes: { target: 0 },
} satisfies NodeSettings;

/** Five processes with the reduced engine. Without `ecdsa` they search no primes and make no presignatures. */
export async function startReducedCluster(
  options: {
    readonly ecdsa?: boolean;
    readonly policy?: PolicyLimits;
    readonly settings?: NodeSettings;
  } = {},
): Promise<Cluster> {
  const ecdsa = {
    primes: { target: 4 },
    presignatures: { ...settings.presignatures, target: 10, refill_below: 10 },
  };
  return startCluster({
    level: "reduced",
    settings: mergeSettings(settings, options.ecdsa === true ? ecdsa : {}, options.settings ?? {}),
    ...(options.policy === undefined ? {} : { policy: options.policy }),
  });
}
