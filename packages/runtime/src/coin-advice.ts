import type { RequestHash } from "@cairn/core";

/**
 * Tells receivers at different nodes of each other's picks, so that requests that come at the same moment seldom want the same coins.
 * Advice alone: what it says or fails to say decides no vote and frees no coin.
 */
export interface CoinAdvice {
  /**
   * Announces that `request` is about to spend these outpoints, as texts.
   * @returns where another request was faster with some of them, these and all others that are known to be claimed; else none, also where
   * nobody can be asked. Never rejects, and answers soon
   */
  claim(outpoints: readonly string[], request: RequestHash): Promise<ReadonlySet<string>>;
}
