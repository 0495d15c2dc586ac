import { concatBytes } from "@noble/hashes/utils.js";

const OP_RETURN = 0x6a;
/** Longest data that one opcode pushes by its own value. */
const MAX_DIRECT_PUSH = 75;

/**
 * The script of an output that carries `data` and nothing else: `OP_RETURN` and one push. Nobody can spend it, so it holds no amount.
 * @param data 1..75 bytes
 */
export function dataOutputScript(data: Uint8Array): Uint8Array {
  if (data.length === 0 || data.length > MAX_DIRECT_PUSH)
    throw new RangeError(`an output carries 1..${MAX_DIRECT_PUSH} bytes of data, not ${data.length}`);
  return concatBytes(Uint8Array.of(OP_RETURN, data.length), data);
}

/** What {@link dataOutputScript} put into a script, or null for any other script. */
export function readDataOutput(script: Uint8Array): Uint8Array | null {
  const [opcode, length] = script;
  const data = script.subarray(2);
  if (opcode !== OP_RETURN || length !== data.length || length === 0 || length > MAX_DIRECT_PUSH) return null;
  return data;
}
