/** Characters of descriptor bodies, in the order that gives them their symbols (BIP-380). */
const inputCharset =
  "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ ";
const checksumCharset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const generator = [0xf5dee51989n, 0xa9fdca3312n, 0x1bab10e32dn, 0x3706b1677an, 0x644d626ffdn];

function polymod(checksum: bigint, value: bigint): bigint {
  const top = checksum >> 35n;
  let next = ((checksum & 0x7ffffffffn) << 5n) ^ value;
  generator.forEach((g, i) => {
    if ((top >> BigInt(i)) & 1n) next ^= g;
  });
  return next;
}

/**
 * The eight checksum characters of a descriptor body (BIP-380), or `undefined` when the body holds a character that
 * descriptors can't have.
 */
export function descriptorChecksum(body: string): string | undefined {
  let checksum = 1n;
  let group = 0;
  let count = 0;
  for (const character of body) {
    const position = inputCharset.indexOf(character);
    if (position < 0) return undefined;
    checksum = polymod(checksum, BigInt(position & 31));
    group = group * 3 + (position >> 5);
    count += 1;
    if (count === 3) {
      checksum = polymod(checksum, BigInt(group));
      group = 0;
      count = 0;
    }
  }
  if (count > 0) checksum = polymod(checksum, BigInt(group));
  for (let i = 0; i < 8; i++) checksum = polymod(checksum, 0n);
  checksum ^= 1n;
  return Array.from(
    { length: 8 },
    (_, i) => checksumCharset[Number((checksum >> BigInt(5 * (7 - i))) & 31n)],
  ).join("");
}
