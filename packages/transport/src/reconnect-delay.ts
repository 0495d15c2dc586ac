import type { Random } from "@cairn/core";

export interface ReconnectDelayOptions {
  readonly baseMs: number;
  readonly maxMs: number;
}

/**
 * How long to wait before attempt `attempt` (from 0): exponential with the upper half drawn at random, so that peers that lost each
 * other together do not come back together.
 */
export function reconnectDelay(attempt: number, options: ReconnectDelayOptions, random: Random): number {
  const ceiling = Math.min(options.maxMs, options.baseMs * 2 ** Math.min(attempt, 30));
  const bytes = random.bytes(4);
  const fraction = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) / 2 ** 32;
  return ceiling / 2 + (ceiling / 2) * fraction;
}
