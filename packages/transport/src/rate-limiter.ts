import { TokenBucket } from "./token-bucket.ts";

export interface RateLimits {
  /** Each limit bursts to two seconds' worth. */
  readonly framesPerSecond: number;
  readonly bytesPerSecond: number;
}

/** What one peer may send. Who exceeds it is not cut off but read more slowly, which TCP passes on to the sender. */
export class RateLimiter {
  readonly #frames: TokenBucket;
  readonly #bytes: TokenBucket;

  /** @param now monotonic milliseconds */
  constructor(limits: RateLimits, now: number) {
    const bucket = (perSecond: number) => new TokenBucket({ perSecond, burst: 2 * perSecond }, now);
    this.#frames = bucket(limits.framesPerSecond);
    this.#bytes = bucket(limits.bytesPerSecond);
  }

  /** Counts a frame. @returns milliseconds to wait before the next is read */
  frame(bytes: number, now: number): number {
    return Math.max(this.#frames.take(1, now), this.#bytes.take(bytes, now));
  }
}
