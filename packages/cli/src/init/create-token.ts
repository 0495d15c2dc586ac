import { randomBytes } from "node:crypto";
import { sha256Hex } from "@cairn/core";

export interface Token {
  /** 32 random bytes, base64url: what a client sends. */
  readonly text: string;
  /** SHA-256 of the text: what a node's configuration holds. */
  readonly hash: string;
}

/** A new bearer token from the operating system's random source. */
export function createToken(): Token {
  const text = randomBytes(32).toString("base64url");
  return { text, hash: sha256Hex(Buffer.from(text, "utf8")) };
}
