import { wire } from "./wire.ts";

/** Bitcoin Core's default dust relay fee, in satoshi for 1000 virtual bytes. */
const dustRelayFee = 3000;

/**
 * The least amount, in satoshi, at which Bitcoin Core relays an output with this script: what spending it would
 * cost at 3 sat/vB (`GetDustThreshold`). 546 for P2PKH, 540 for P2SH, 294 for P2WPKH, 330 for P2WSH and P2TR;
 * 0 for OP_RETURN, which nobody can spend.
 */
export function dustThreshold(script: Uint8Array): bigint {
  if (script[0] === 0x6a) return 0n;
  const output = 8 + wire.compactSize(script.length).length + script.length;
  const spend = isWitnessProgram(script) ? 32 + 4 + 1 + Math.floor(107 / 4) + 4 : 32 + 4 + 1 + 107 + 4;
  return BigInt(Math.floor(((output + spend) * dustRelayFee) / 1000));
}

function isWitnessProgram(script: Uint8Array): boolean {
  const [version, push] = script;
  if (version === undefined || push === undefined) return false;
  const knownVersion = version === 0 || (version >= 0x51 && version <= 0x60);
  return knownVersion && push >= 2 && push <= 40 && script.length === push + 2;
}
