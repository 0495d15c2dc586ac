import { BoundedMap } from "./bounded-map.ts";
import type { DerivedKey, Descriptor } from "./descriptor.ts";

/** Keys remembered for one wallet: more than a wallet of ten thousand coins has, at about 0.6 KB each. */
const MAX_KEYS = 20_000;
/** Wallets whose keys are remembered. */
const MAX_WALLETS = 8;

const memories = new BoundedMap<string, BoundedMap<string, DerivedKey>>(MAX_WALLETS);
const names = new WeakMap<Descriptor, string>();

/**
 * The keys of a wallet that were derived lately, by `branch/index`. Two descriptors share a memory only where all that a
 * key follows from is the same.
 */
export function keyMemory(descriptor: Descriptor): BoundedMap<string, DerivedKey> {
  const name = names.get(descriptor) ?? nameOf(descriptor);
  names.set(descriptor, name);
  const known = memories.get(name) ?? new BoundedMap<string, DerivedKey>(MAX_KEYS);
  memories.set(name, known);
  return known;
}

function nameOf({ kind, network, branches }: Descriptor): string {
  const nodes = branches.flatMap(({ publicKey, chainCode, shift }) => [
    Buffer.from(publicKey).toString("hex"),
    Buffer.from(chainCode).toString("hex"),
    shift.toString(16),
  ]);
  return [kind, network, ...nodes].join("/");
}
