/** What an output pays to. `program` is the hash, key or witness program inside the script. */
export type OutputScript =
  | { readonly type: "p2pkh"; readonly program: Uint8Array }
  | { readonly type: "p2sh"; readonly program: Uint8Array }
  | { readonly type: "p2wpkh"; readonly program: Uint8Array }
  | { readonly type: "p2wsh"; readonly program: Uint8Array }
  | { readonly type: "p2tr"; readonly program: Uint8Array }
  | { readonly type: "unknown" };

const op = {
  zero: 0x00,
  one: 0x51,
  dup: 0x76,
  hash160: 0xa9,
  equal: 0x87,
  equalVerify: 0x88,
  checkSig: 0xac,
};

/** Recognises the five standard payment scripts; anything else, OP_RETURN included, is `unknown`. */
export function classifyOutputScript(script: Uint8Array): OutputScript {
  const [a, b, c] = script;
  switch (script.length) {
    case 22:
      if (a === op.zero && b === 20) return { type: "p2wpkh", program: script.slice(2) };
      break;
    case 23:
      if (a === op.hash160 && b === 20 && script[22] === op.equal) {
        return { type: "p2sh", program: script.slice(2, 22) };
      }
      break;
    case 25:
      if (
        a === op.dup &&
        b === op.hash160 &&
        c === 20 &&
        script[23] === op.equalVerify &&
        script[24] === op.checkSig
      ) {
        return { type: "p2pkh", program: script.slice(3, 23) };
      }
      break;
    case 34:
      if (a === op.zero && b === 32) return { type: "p2wsh", program: script.slice(2) };
      if (a === op.one && b === 32) return { type: "p2tr", program: script.slice(2) };
      break;
  }
  return { type: "unknown" };
}

/** The scriptPubKey of a recognised payment; the inverse of {@link classifyOutputScript}. */
export function encodeOutputScript(output: Exclude<OutputScript, { type: "unknown" }>): Uint8Array {
  const { program } = output;
  switch (output.type) {
    case "p2pkh":
      return Uint8Array.of(op.dup, op.hash160, 20, ...program, op.equalVerify, op.checkSig);
    case "p2sh":
      return Uint8Array.of(op.hash160, 20, ...program, op.equal);
    case "p2wpkh":
      return Uint8Array.of(op.zero, 20, ...program);
    case "p2wsh":
      return Uint8Array.of(op.zero, 32, ...program);
    case "p2tr":
      return Uint8Array.of(op.one, 32, ...program);
  }
}
