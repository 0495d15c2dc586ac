import { isIP } from "node:net";
import type { Member, NodeIndex } from "@cairn/core";
import { sourceAddress } from "./source-address.ts";

/** Addresses kept of one member, of each kind: a member must not be able to name the whole internet. */
const MAX_MET = 4;
const MAX_RESOLVED = 8;

interface Addresses {
  /** Those that the manifest names by number. */
  named: ReadonlySet<string>;
  /** Where the manifest's host names led, the newest last. */
  readonly resolved: Set<string>;
  /** Other ends of connections that completed HELLO, the newest last. */
  readonly met: Set<string>;
}

/**
 * Addresses from which members are likely to connect. They prove nothing: whoever comes from one has only a share of its own of what
 * strangers may have done before HELLO.
 */
export class MemberAddresses {
  readonly #members = new Map<NodeIndex, Addresses>();

  /** Follows a manifest: forgets who is no member any more. */
  follow(members: readonly Pick<Member, "index" | "addresses">[]): void {
    const indices = new Set(members.map(({ index }) => index));
    for (const index of this.#members.keys()) if (!indices.has(index)) this.#members.delete(index);
    for (const { index, addresses } of members) {
      const named = new Set(addresses.flatMap(numericHost));
      const known = this.#members.get(index);
      if (known === undefined) this.#members.set(index, { named, resolved: new Set(), met: new Set() });
      else known.named = named;
    }
  }

  /** A host name of the member's led to `address`. */
  resolved(node: NodeIndex, address: string): void {
    remember(this.#members.get(node)?.resolved, address, MAX_RESOLVED);
  }

  /** The member proved who it is on a connection whose other end is `address`. */
  met(node: NodeIndex, address: string): void {
    remember(this.#members.get(node)?.met, address, MAX_MET);
  }

  /** Whether a member may be at `address`, other than those in `except`. */
  has(address: string, except: ReadonlySet<NodeIndex>): boolean {
    const source = sourceAddress(address);
    for (const [node, { named, resolved, met }] of this.#members) {
      if (except.has(node)) continue;
      if (named.has(source) || resolved.has(source) || met.has(source)) return true;
    }
    return false;
  }
}

function numericHost(address: string): readonly string[] {
  const host = URL.parse(address)?.hostname.replace(/^\[(.*)\]$/, "$1") ?? "";
  return isIP(host) === 0 ? [] : [sourceAddress(host)];
}

/** Adds to a set that forgets what came longest ago. */
function remember(set: Set<string> | undefined, address: string, limit: number): void {
  if (set === undefined || isIP(address) === 0) return;
  const source = sourceAddress(address);
  set.delete(source);
  set.add(source);
  const [oldest] = set;
  if (set.size > limit && oldest !== undefined) set.delete(oldest);
}
