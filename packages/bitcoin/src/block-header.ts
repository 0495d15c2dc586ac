import type { Network } from "@cairn/core";
import { bytesToHex } from "@noble/hashes/utils.js";
import { bitcoinError } from "./bitcoin-error.ts";
import { hash } from "./hash.ts";

const HEADER_BYTES = 80;

/** What an 80-byte block header tells; hashes in the order in which people read them. */
export interface BlockHeader {
  readonly hash: string;
  readonly previousHash: string;
  readonly merkleRoot: string;
  /** Seconds since the Unix epoch, by the miner's clock. */
  readonly time: number;
  /** What the hash, as a number, must not exceed: 2²⁵⁶ divided by it is the work that the block took. */
  readonly target: bigint;
}

/** Reads a block header. @throws CairnError `block-header-malformed` */
export function parseBlockHeader(bytes: Uint8Array): BlockHeader {
  const malformed = () =>
    bitcoinError("block-header-malformed", "These bytes are no block header.", { bytes: bytes.length });
  if (bytes.length !== HEADER_BYTES) throw malformed();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const target = expandTarget(view.getUint32(72, true));
  if (target === undefined) throw malformed();
  return {
    hash: displayed(hash.sha256d(bytes)),
    previousHash: displayed(bytes.slice(4, 36)),
    merkleRoot: displayed(bytes.slice(36, 68)),
    time: view.getUint32(68, true),
    target,
  };
}

/** Easiest target of each network's blocks. */
const easiestTarget: Readonly<Record<Network, bigint>> = {
  mainnet: 0xffffn << 208n,
  testnet4: 0xffffn << 208n,
  signet: 0x377aen << 208n,
  regtest: 0x7fffffn << 232n,
};

/**
 * Whether the header's hash meets its target, and its target is one that `network` allows at all. That the block is in the best chain
 * only a chain source can say; how much work it would take to forge it follows from the target.
 */
export function meetsTarget({ hash, target }: BlockHeader, network: Network): boolean {
  return target <= easiestTarget[network] && BigInt(`0x${hash}`) <= target;
}

/** The target in its compact form's 32 bits, or undefined where that is none (Bitcoin Core's `arith_uint256::SetCompact`). */
function expandTarget(compact: number): bigint | undefined {
  const exponent = compact >>> 24;
  const mantissa = compact & 0x7fffff;
  if ((compact & 0x800000) !== 0 || mantissa === 0 || exponent > 32) return undefined;
  const target =
    exponent <= 3
      ? BigInt(mantissa >>> (8 * (3 - exponent)))
      : BigInt(mantissa) << BigInt(8 * (exponent - 3));
  return target === 0n ? undefined : target;
}

function displayed(internal: Uint8Array): string {
  return bytesToHex(internal.toReversed());
}
