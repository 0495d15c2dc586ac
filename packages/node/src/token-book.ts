import { createHash, timingSafeEqual } from "node:crypto";
import type { Role } from "@cairn/client";
import {
  type Clock,
  fromHex,
  type HashHex,
  hashHexSchema,
  type NodeConfig,
  type NodeStore,
  toHex,
} from "@cairn/core";

/** Who calls: the holder of a bearer token. */
export interface Caller {
  /** The token's name, for logs. */
  readonly name: string;
  readonly role: Role;
  /** SHA-256 of the token. */
  readonly hash: HashHex;
}

interface Entry extends Caller {
  readonly digest: Uint8Array;
  readonly expiresAt: number | null;
}

/** How long tokens of the store are believed before they are read again: the delay of a revocation. */
const REREAD_MS = 10_000;
const MAX_TOKEN_LENGTH = 512;

/** Bearer tokens of configuration and store. Only their hashes are known, and they are compared in constant time. */
export class TokenBook {
  readonly #configured: readonly Entry[];
  readonly #store: Pick<NodeStore, "tokens">;
  readonly #clock: Clock;
  #generation = 0;
  #stored: { readonly entries: readonly Entry[]; readonly readAt: number } | null = null;

  constructor(
    tokens: NodeConfig["api"]["tokens"],
    modules: { readonly store: Pick<NodeStore, "tokens">; readonly clock: Clock },
  ) {
    this.#configured = tokens.map(({ name, role, hash }) =>
      entryOf(name, role, hashHexSchema.parse(hash), null),
    );
    this.#store = modules.store;
    this.#clock = modules.clock;
  }

  /** The holder of the token in an `Authorization` header, or null. */
  async find(authorization: string | undefined): Promise<Caller | null> {
    const [, token] = /^bearer +(\S+) *$/i.exec(authorization ?? "") ?? [];
    if (token === undefined || token.length > MAX_TOKEN_LENGTH) return null;
    const presented = createHash("sha256").update(token, "utf8").digest();
    const now = this.#clock.now();
    let found: Caller | null = null;
    // All are compared, so that the time says nothing about which one came close.
    for (const entry of [...this.#configured, ...(await this.#fromStore())]) {
      const same = timingSafeEqual(presented, entry.digest);
      if (same && (entry.expiresAt === null || now < entry.expiresAt)) {
        found = { name: entry.name, role: entry.role, hash: entry.hash };
      }
    }
    return found;
  }

  /** Reads the store's tokens anew at the next call: one was made or revoked. */
  reread(): void {
    this.#generation += 1;
    this.#stored = null;
  }

  async #fromStore(): Promise<readonly Entry[]> {
    const at = this.#clock.monotonic();
    if (this.#stored !== null && at - this.#stored.readAt < REREAD_MS) return this.#stored.entries;
    const generation = this.#generation;
    const rows = await this.#store.tokens();
    const entries = rows
      .filter(({ revokedAt }) => revokedAt === null)
      .map(({ name, role, hash, expiresAt }) => entryOf(name, role, hash, expiresAt));
    // What was read while a token changed may lack the change.
    if (generation === this.#generation) this.#stored = { entries, readAt: at };
    return entries;
  }
}

function entryOf(name: string, role: Role, hash: HashHex, expiresAt: number | null): Entry {
  return { name, role, hash, digest: fromHex(hash), expiresAt };
}

/** What configuration and store keep of a token. */
export function tokenHash(token: string): HashHex {
  return hashHexSchema.parse(toHex(createHash("sha256").update(token, "utf8").digest()));
}
