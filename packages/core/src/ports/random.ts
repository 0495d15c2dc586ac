/** Randomness for nonces and coin selection. Key material comes from the engine alone. */
export interface Random {
  /** `length` uniformly random bytes. */
  bytes(length: number): Uint8Array;
}
