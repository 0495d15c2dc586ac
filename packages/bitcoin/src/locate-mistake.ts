/** Characters of bech32, in the order of their values (BIP-173). */
const charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const generator = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
/** What the checksum of a whole string comes to: 1 for bech32 (witness version 0), the other for bech32m (BIP-350). */
const residues = { bech32: 1, bech32m: 0x2bc830a3 };

function step(checksum: number): number {
  let next = (checksum & 0x1ffffff) << 5;
  generator.forEach((g, i) => {
    if ((checksum >> (25 + i)) & 1) next ^= g;
  });
  return next;
}

/**
 * Where a segwit address with a wrong checksum is mistyped, counted from 1, if one character alone can be to blame; `undefined`
 * where more are. BIP-173 asks not to say what it should be: that would turn one mistyped address into another valid one.
 *
 * @param text an address in one case, with a separator
 */
export function locateMistake(text: string): number | undefined {
  const lower = text.toLowerCase();
  const start = lower.lastIndexOf("1") + 1;
  const prefix = [...lower.slice(0, start - 1)].map((character) => character.charCodeAt(0));
  const data = [...lower.slice(start)].map((character) => charset.indexOf(character));
  const strange = data.flatMap((value, i) => (value < 0 ? [i] : []));
  if (strange.length > 0) return strange.length === 1 ? start + (strange[0] ?? 0) + 1 : undefined;

  const expanded = [...prefix.map((code) => code >> 5), 0, ...prefix.map((code) => code & 31), ...data];
  const checksum = expanded.reduce((sum, value) => step(sum) ^ value, 1);
  const found = new Set<number>();
  for (const residue of Object.values(residues)) {
    for (let error = 1; error < 32; error++) {
      // The checksum is linear: one wrong character adds its error, shifted as often as characters follow it.
      let shifted = error;
      for (let at = data.length - 1; at >= 0; at--) {
        if (shifted === (checksum ^ residue) && fits(data, at, error, residue)) found.add(start + at + 1);
        shifted = step(shifted);
      }
    }
  }
  const [only, another] = found;
  return another === undefined ? only : undefined;
}

/** Whether the checksum is of the kind that the mended witness version has. */
function fits(data: readonly number[], at: number, error: number, residue: number): boolean {
  const [first = 0] = data;
  const version = at === 0 ? first ^ error : first;
  return residue === (version === 0 ? residues.bech32 : residues.bech32m);
}
