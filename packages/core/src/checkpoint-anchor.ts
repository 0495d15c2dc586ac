import { concatBytes, fromHex, toHex } from "./bytes.ts";
import { type Checkpoint, checkpointHash } from "./checkpoint.ts";
import type { HashHex } from "./ids.ts";

/** ASCII `cairn` and the version of the anchor. */
const PREFIX = Uint8Array.of(0x63, 0x61, 0x69, 0x72, 0x6e, 0x01);
const HASH_BYTES = 32;

/**
 * What an OP_RETURN output carries to put a checkpoint on the chain: `cairn`, 1, and the checkpoint's hash; 38 bytes, within the 80 that
 * Bitcoin nodes relay. It commits to every head, and through `previous` to all earlier checkpoints; signatures are not part of it.
 */
export function checkpointAnchor(checkpoint: Checkpoint): Uint8Array {
  return concatBytes(PREFIX, fromHex(checkpointHash(checkpoint)));
}

/** The hash of the checkpoint that an OP_RETURN output's data anchors, or null when they are no anchor. */
export function readCheckpointAnchor(data: Uint8Array): HashHex | null {
  if (data.length !== PREFIX.length + HASH_BYTES) return null;
  if (PREFIX.some((byte, at) => data[at] !== byte)) return null;
  return toHex(data.subarray(PREFIX.length)) as HashHex;
}
