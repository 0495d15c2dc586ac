import type { MempoolEntry } from "./mempool.ts";

const blockVbytes = 1_000_000;
const minimumSatsPerVbyte = 1;
const targets = [...Array.from({ length: 25 }, (_, index) => index + 1), 144, 504, 1008];

/**
 * The fee rate, in sat/vB, that outbids all but the next `target` blocks' worth of what waits; 1 where there is room.
 * Keys are Esplora's confirmation targets.
 */
export function feeEstimates(entries: readonly MempoolEntry[]): Record<string, number> {
  const queue = entries
    .map(({ feeSats, transaction: { vsize } }) => ({ vsize, rate: Number(feeSats) / vsize }))
    .sort((a, b) => b.rate - a.rate);
  return Object.fromEntries(
    targets.map((target) => {
      let room = target * blockVbytes;
      const outbid = queue.find(({ vsize }) => {
        room -= vsize;
        return room < 0;
      });
      return [String(target), Math.max(outbid?.rate ?? 0, minimumSatsPerVbyte)];
    }),
  );
}

/** `[fee rate, vsize]` pairs: how much waits at no less than that rate and below the pair before. */
export function feeHistogram(entries: readonly MempoolEntry[]): [number, number][] {
  const binVbytes = 50_000;
  const queue = entries
    .map(({ feeSats, transaction: { vsize } }) => ({ vsize, rate: Number(feeSats) / vsize }))
    .sort((a, b) => b.rate - a.rate);
  const histogram: [number, number][] = [];
  let bin = 0;
  let last = 0;
  for (const { vsize, rate } of queue) {
    if (bin > binVbytes && rate !== last) {
      histogram.push([last, bin]);
      bin = 0;
    }
    bin += vsize;
    last = rate;
  }
  if (bin > 0) histogram.push([last, bin]);
  return histogram;
}
