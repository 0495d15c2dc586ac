import { toHex } from "@cairn/core";
import { Address, OP, OutScript } from "@scure/btc-signer";
import { OPNames } from "@scure/btc-signer/script.js";
import { regtest } from "./regtest.ts";

/** Kinds of locking script under the names that Esplora uses. */
export type OutputType =
  | "p2pk"
  | "p2pkh"
  | "p2sh"
  | "v0_p2wpkh"
  | "v0_p2wsh"
  | "v1_p2tr"
  | "p2a"
  | "multisig"
  | "op_return"
  | "empty"
  | "witness_unknown"
  | "unknown";

const dustRelaySatsPerKvb = 3000n;

const codecs = Address({ ...regtest });

/** The kind of `script`, by Bitcoin Core's `Solver` rules. */
export function outputType(script: Uint8Array): OutputType {
  const [first, second] = script;
  if (first === undefined) return "empty";
  if (first === OP.RETURN) return pushesOnly(script.subarray(1)) ? "op_return" : "unknown";
  if (script.length === 25 && toHex(script).match(/^76a914.{40}88ac$/)) return "p2pkh";
  if (script.length === 23 && first === OP.HASH160 && second === 20 && script[22] === OP.EQUAL) return "p2sh";
  if ((script.length === 35 && first === 33) || (script.length === 67 && first === 65)) {
    if (script.at(-1) === OP.CHECKSIG) return "p2pk";
  }
  const witness = witnessProgram(script);
  if (witness !== undefined) {
    if (witness.version === 0 && witness.program.length === 20) return "v0_p2wpkh";
    if (witness.version === 0 && witness.program.length === 32) return "v0_p2wsh";
    if (witness.version === 1 && witness.program.length === 32) return "v1_p2tr";
    if (witness.version === 1 && toHex(witness.program) === "4e73") return "p2a";
    return witness.version === 0 ? "unknown" : "witness_unknown";
  }
  return isBareMultisig(script) ? "multisig" : "unknown";
}

/** Version and program of a witness output (BIP-141), if `script` is one. */
export function witnessProgram(script: Uint8Array): { version: number; program: Uint8Array } | undefined {
  const [first, length] = script;
  if (first === undefined || length === undefined || script.length < 4 || script.length > 42)
    return undefined;
  const version = first === 0 ? 0 : first - (OP.OP_1 - 1);
  if (version < 0 || version > 16 || length !== script.length - 2) return undefined;
  return { version, program: script.subarray(2) };
}

/** Whether nobody can ever spend `script`: it is left out of the set of unspent outputs. */
export function isUnspendable(script: Uint8Array): boolean {
  return script[0] === OP.RETURN || script.length > 10_000;
}

/**
 * The smallest amount, in satoshis, that an output with this script may carry: what spending it would cost at
 * 3 sat/vB (Bitcoin Core's `GetDustThreshold` at the default dust relay fee).
 */
export function dustThresholdSats(script: Uint8Array): bigint {
  if (isUnspendable(script)) return 0n;
  const lengthBytes = script.length < 253 ? 1 : 3;
  const inputSize = witnessProgram(script) === undefined ? 148 : 67;
  return (BigInt(8 + lengthBytes + script.length + inputSize) * dustRelaySatsPerKvb) / 1000n;
}

/** The regtest address of `script`, if it has one. */
export function outputAddress(script: Uint8Array): string | undefined {
  switch (outputType(script)) {
    case "p2pkh":
    case "p2sh":
    case "v0_p2wpkh":
    case "v0_p2wsh":
    case "v1_p2tr":
    case "p2a": {
      const decoded = safely(() => OutScript.decode(script));
      return decoded === undefined ? undefined : safely(() => codecs.encode(decoded));
    }
    default:
      return undefined;
  }
}

/** The locking script of a regtest `address`; undefined when it is not one. */
export function addressScript(address: string): Uint8Array | undefined {
  return safely(() => OutScript.encode(codecs.decode(address)));
}

/** `script` in the notation of Esplora's `*_asm` fields. */
export function scriptAsm(script: Uint8Array): string {
  const words: string[] = [];
  for (const part of parse(script)) {
    if (part.op === undefined) words.push("<unexpected end>");
    else if (part.data === undefined || part.data.length === 0) words.push(opName(part.op));
    else words.push(`${opName(part.op)} ${toHex(part.data)}`);
  }
  return words.join(" ");
}

/** Whether `script` does nothing but push data (BIP-62 rule 2). */
export function pushesOnly(script: Uint8Array): boolean {
  return parse(script).every((part) => part.op !== undefined && part.op <= OP.OP_16);
}

/** The data that the last push of `script` leaves; undefined when it does not end in a push. */
export function lastPush(script: Uint8Array): Uint8Array | undefined {
  return parse(script).at(-1)?.data;
}

interface ScriptPart {
  /** Undefined where the script ends in the middle of a push. */
  readonly op: number | undefined;
  readonly data?: Uint8Array;
}

function parse(script: Uint8Array): ScriptPart[] {
  const parts: ScriptPart[] = [];
  let at = 0;
  while (at < script.length) {
    const op = script[at++] ?? 0;
    if (op > OP.PUSHDATA4) {
      parts.push({ op });
      continue;
    }
    const lengthBytes = op < OP.PUSHDATA1 ? 0 : 1 << (op - OP.PUSHDATA1);
    let length = op < OP.PUSHDATA1 ? op : 0;
    for (let i = 0; i < lengthBytes; i++) length += (script[at + i] ?? Infinity) * 2 ** (8 * i);
    at += lengthBytes;
    if (at + length > script.length) return [...parts, { op: undefined }];
    parts.push({ op, data: script.subarray(at, at + length) });
    at += length;
  }
  return parts;
}

function opName(op: number): string {
  if (op === 0) return "OP_0";
  if (op < OP.PUSHDATA1) return `OP_PUSHBYTES_${op}`;
  if (op >= OP.OP_1 && op <= OP.OP_16) return `OP_PUSHNUM_${op - OP.OP_1 + 1}`;
  if (op === OP["1NEGATE"]) return "OP_PUSHNUM_NEG1";
  if (op === OP.CHECKLOCKTIMEVERIFY) return "OP_CLTV";
  if (op === OP.CHECKSEQUENCEVERIFY) return "OP_CSV";
  return OPNames[op] === undefined ? `OP_RETURN_${op}` : `OP_${OPNames[op]}`;
}

function isBareMultisig(script: Uint8Array): boolean {
  const decoded = safely(() => OutScript.decode(script));
  return decoded?.type === "ms" && decoded.pubkeys.length <= 3;
}

function safely<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch {
    // The codecs throw on whatever they don't know; to this file that only means "not of this kind".
    return undefined;
  }
}
