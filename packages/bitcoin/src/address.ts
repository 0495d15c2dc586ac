import { type Network, networkSchema } from "@cairn/core";
import { base58check, bech32, bech32m } from "@scure/base";
import { bitcoinError } from "./bitcoin-error.ts";
import { hash } from "./hash.ts";
import { locateMistake } from "./locate-mistake.ts";
import { networkParams } from "./network-params.ts";
import { classifyOutputScript, encodeOutputScript, type OutputScript } from "./output-script.ts";
import { isXOnlyKey } from "./x-only-key.ts";

/** A decoded address: what it pays to, on a network it is valid for. */
export interface Address {
  readonly text: string;
  readonly network: Network;
  readonly type: Exclude<OutputScript["type"], "unknown">;
  readonly script: Uint8Array;
}

const base58 = base58check(hash.sha256);
/** BIP-173: a bech32 string is at most 90 characters. */
const maxLength = 90;
const knownHrps = networkSchema.options.map((network) => networkParams(network).hrp);

/** Networks on which something with this trait is valid, for messages. */
function networksWhere(matches: (network: Network) => boolean): string {
  return networkSchema.options.filter(matches).join(" or ");
}

function wrongNetwork(actual: string, wanted: Network): Error {
  return bitcoinError(
    "address-wrong-network",
    `This address belongs to ${actual}, but the wallet is on ${wanted}. Ask the recipient for a ${wanted} address.`,
    { actual, wanted },
  );
}

/**
 * Reads an address and checks that money sent to it on `network` can be spent by its owner: bech32 (BIP-173) for
 * witness version 0, bech32m (BIP-350) for taproot, base58check for P2PKH and P2SH.
 *
 * testnet4 and signet share their prefixes and can't be told apart.
 *
 * @throws CairnError with reason `address-malformed`, `address-mixed-case`, `address-wrong-network`,
 * `address-bad-checksum` (data: `position` from 1, where one character can be to blame), `address-wrong-encoding` (bech32 where bech32m belongs, or the other way round),
 * `address-unknown-witness-version`, `address-bad-length` or `address-invalid-key`.
 */
export function decodeAddress(text: string, network: Network): Address {
  if (!/^[0-9a-zA-Z]{1,90}$/.test(text)) {
    throw bitcoinError(
      "address-malformed",
      `A Bitcoin address has 14 to ${maxLength} letters and digits and nothing else. Copy it again, whole and without spaces.`,
      { length: text.length },
    );
  }
  const separator = text.lastIndexOf("1");
  const prefix = text.slice(0, Math.max(separator, 0)).toLowerCase();
  const looksSegwit = knownHrps.some((hrp) => hrp === prefix);
  return looksSegwit ? decodeSegwit(text, prefix, network) : decodeBase58(text, network);
}

function decodeSegwit(text: string, prefix: string, network: Network): Address {
  if (text !== text.toLowerCase() && text !== text.toUpperCase()) {
    throw bitcoinError(
      "address-mixed-case",
      "This address mixes capital and small letters, which BIP-173 forbids because it hides typing errors. Copy it again.",
    );
  }
  const v0 = bech32.decodeUnsafe(text, maxLength);
  const v1 = bech32m.decodeUnsafe(text, maxLength);
  const decoded = v0 ?? v1;
  if (decoded === undefined) {
    const position = locateMistake(text);
    throw bitcoinError(
      "address-bad-checksum",
      position === undefined
        ? "The checksum of this address is wrong: at least one character was mistyped or is missing. Copy it again."
        : `The checksum of this address is wrong: character ${position} is probably mistyped. Copy the address again; don't guess.`,
      position === undefined ? {} : { position },
    );
  }
  const { hrp } = networkParams(network);
  if (prefix !== hrp)
    throw wrongNetwork(
      networksWhere((n) => networkParams(n).hrp === prefix),
      network,
    );
  const [version, ...words] = decoded.words;
  if (version === undefined) {
    throw bitcoinError("address-bad-length", "This address names no witness program. Ask for another one.");
  }
  if (version > 16) {
    throw bitcoinError(
      "address-unknown-witness-version",
      `Witness version ${version} does not exist (0 to 16 do). Ask for another address.`,
      { version },
    );
  }
  if ((version === 0) !== (v0 !== undefined)) {
    throw bitcoinError(
      "address-wrong-encoding",
      version === 0
        ? "Witness version 0 needs a bech32 checksum, and this one is bech32m (BIP-350). The software that made it is faulty; ask for another address."
        : "Witness version 1 and above need a bech32m checksum, and this one is bech32 (BIP-350). The software that made it is outdated; ask for another address.",
      { version },
    );
  }
  const program = bech32.fromWordsUnsafe(words);
  if (program === undefined) {
    throw bitcoinError(
      "address-malformed",
      "The padding of this address is not zero (BIP-173). Ask for another one.",
    );
  }
  if (version >= 2) {
    throw bitcoinError(
      "address-unknown-witness-version",
      `No rule protects coins of witness version ${version} yet, so anyone could take them. Ask for a version 0 or taproot address.`,
      { version },
    );
  }
  const bytes = Uint8Array.from(program);
  if (version === 0 && bytes.length === 20) return address(text, network, { type: "p2wpkh", program: bytes });
  if (version === 0 && bytes.length === 32) return address(text, network, { type: "p2wsh", program: bytes });
  if (version === 1 && bytes.length === 32) {
    if (!isXOnlyKey(bytes)) {
      throw bitcoinError(
        "address-invalid-key",
        "This taproot address names no point of the curve, so nobody could ever spend coins sent to it. Ask for another one.",
      );
    }
    return address(text, network, { type: "p2tr", program: bytes });
  }
  throw bitcoinError(
    "address-bad-length",
    `A witness program of version ${version} can't have ${bytes.length} bytes (20 or 32 in version 0, 32 in version 1). Ask for another address.`,
    { version, length: bytes.length },
  );
}

function decodeBase58(text: string, network: Network): Address {
  if (/[0OIl]/.test(text)) {
    throw bitcoinError(
      "address-malformed",
      "This is neither a segwit address of a known network nor base58 (which has no 0, O, I and l). Copy the address again.",
    );
  }
  let payload: Uint8Array;
  try {
    payload = base58.decode(text);
  } catch (cause) {
    throw bitcoinError(
      "address-bad-checksum",
      "The checksum of this address is wrong: at least one character was mistyped or is missing. Copy it again.",
      {},
      cause,
    );
  }
  const [version] = payload;
  const program = payload.slice(1);
  if (program.length !== 20 || version === undefined) {
    throw bitcoinError(
      "address-bad-length",
      `A base58 address holds 20 bytes, this one ${program.length}. It may be a key rather than an address: never share private keys.`,
      { length: program.length },
    );
  }
  const own = networkParams(network);
  if (version === own.p2pkh) return address(text, network, { type: "p2pkh", program });
  if (version === own.p2sh) return address(text, network, { type: "p2sh", program });
  const actual = networksWhere(
    (n) => networkParams(n).p2pkh === version || networkParams(n).p2sh === version,
  );
  throw wrongNetwork(actual === "" ? "another currency" : actual, network);
}

function address(
  text: string,
  network: Network,
  output: Exclude<OutputScript, { type: "unknown" }>,
): Address {
  return { text, network, type: output.type, script: encodeOutputScript(output) };
}

/**
 * The address of a scriptPubKey on `network`, or `undefined` where none exists (OP_RETURN, bare scripts,
 * witness versions without rules).
 */
export function encodeAddress(script: Uint8Array, network: Network): string | undefined {
  const output = classifyOutputScript(script);
  const { hrp, p2pkh, p2sh } = networkParams(network);
  switch (output.type) {
    case "p2wpkh":
    case "p2wsh":
      return bech32.encode(hrp, [0, ...bech32.toWords(output.program)], maxLength);
    case "p2tr":
      return bech32m.encode(hrp, [1, ...bech32m.toWords(output.program)], maxLength);
    case "p2pkh":
      return base58.encode(Uint8Array.of(p2pkh, ...output.program));
    case "p2sh":
      return base58.encode(Uint8Array.of(p2sh, ...output.program));
    case "unknown":
      return undefined;
  }
}
