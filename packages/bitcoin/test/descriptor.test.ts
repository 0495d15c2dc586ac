import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { networkSchema } from "@cairn/core";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { bytesToNumberBE } from "@noble/curves/utils.js";
import { HDKey } from "@scure/bip32";
import * as btc from "@scure/btc-signer";
import fc from "fast-check";
import {
  bitcoinErrorReason,
  createDescriptor,
  type DescriptorKind,
  deriveChild,
  deriveKey,
  descriptorChecksum,
  encodeExtendedKey,
  fullDerivation,
  parseDescriptor,
} from "../src/index.ts";
import { throwsReason } from "./assert-reason.ts";
import { testWallet } from "./test-wallet.ts";
import bip32 from "./vectors/bip32.json" with { type: "json" };
import bip341 from "./vectors/bip341.json" with { type: "json" };
import bip380 from "./vectors/bip380.json" with { type: "json" };

function withChecksum(body: string): string {
  return `${body}#${descriptorChecksum(body)}`;
}

const keyOf = (xpub: string) => parseDescriptor(withChecksum(`wpkh(${xpub}/<0;1>/*)`), "mainnet").key;

bip32.chains.forEach(({ nodes }, chain) => {
  nodes.forEach((node, at) => {
    const { path, xpub, xprv } = node;
    test(`BIP-32 vector ${chain + 1}: ${path} is read and written, and its private form refused`, () => {
      const key = keyOf(xpub);
      assert.equal(encodeExtendedKey(key, "mainnet"), xpub);
      assert.equal(key.depth, path.split("/").length - 1);
      throwsReason(
        () => parseDescriptor(withChecksum(`wpkh(${xprv}/<0;1>/*)`), "mainnet"),
        "descriptor-private-key",
      );
    });
    const before = nodes[at - 1];
    if (before === undefined) return;
    const [, digits = "", mark] = /\/([0-9]+)(H?)$/.exec(path) ?? [];
    const index = Number(digits) + (mark === "H" ? 0x80000000 : 0);
    test(`BIP-32 vector ${chain + 1}: ${before.path} ${mark === "H" ? "can't be derived to" : "to"} ${path}`, () => {
      const parent = keyOf(before.xpub);
      const derive = () =>
        deriveChild({ publicKey: parent.publicKey, chainCode: parent.chainCode, shift: 0n }, index);
      const expected = keyOf(xpub);
      assert.equal(expected.childNumber, index);
      if (mark === "H") {
        // A hardened step takes the private key, which exists nowhere.
        throwsReason(derive, "path-out-of-range");
        return;
      }
      const child = derive();
      assert.deepEqual(child.publicKey, expected.publicKey);
      assert.deepEqual(child.chainCode, expected.chainCode);
    });
  });
});

for (const { key, why, reason } of bip32.invalid) {
  test(`BIP-32 vector 5: refuses ${key.slice(0, 4)} with ${why}`, () => {
    for (const kind of ["wpkh", "tr"]) {
      assert.throws(
        () => parseDescriptor(withChecksum(`${kind}(${key}/<0;1>/*)`), "mainnet"),
        (error) => bitcoinErrorReason(error) === reason && !String(error).includes(key),
      );
    }
  });
}

test("BIP-380: the published checksum comes out, and one wrong character changes it", () => {
  assert.equal(descriptorChecksum(bip380.checksum.body), bip380.checksum.checksum);
  assert.notEqual(descriptorChecksum(bip380.otherBody), bip380.checksum.checksum);
  assert.equal(descriptorChecksum(bip380.invalidCharacters), undefined);
});

test("BIP-380: missing, short, long and wrong checksums are refused", () => {
  const body = `wpkh(${bip380.key}/<0;1>/*)`;
  throwsReason(() => parseDescriptor(body, "mainnet"), "descriptor-checksum-missing");
  for (const bad of bip380.badChecksums) {
    throwsReason(() => parseDescriptor(`${body}#${bad}`, "mainnet"), "descriptor-bad-checksum");
  }
});

for (const origin of bip380.validOrigins) {
  test(`BIP-380: key origin ${origin === "" ? "(none)" : origin}`, () => {
    const descriptor = parseDescriptor(withChecksum(`tr(${origin}${bip380.key}/<0;1>/*)`), "mainnet");
    assert.equal(descriptor.origin === undefined, origin === "");
    assert.deepEqual(parseDescriptor(descriptor.text, "mainnet"), descriptor);
  });
}

for (const origin of bip380.invalidOrigins) {
  test(`BIP-380: refuses key origin ${origin}`, () => {
    assert.throws(() => parseDescriptor(withChecksum(`wpkh(${origin}${bip380.key}/<0;1>/*)`), "mainnet"));
  });
}

test("a private key in a descriptor is refused and not repeated", () => {
  const text = withChecksum(`wpkh(${bip380.privateKey}/<0;1>/*)`);
  throwsReason(() => parseDescriptor(text, "mainnet"), "descriptor-private-key");
  assert.throws(
    () => parseDescriptor(text, "mainnet"),
    (error) => error instanceof Error && !error.message.includes("xprv"),
  );
});

test("descriptors of other kinds, single paths and hardened wildcards are refused", () => {
  for (const body of [
    `pkh(${bip380.key}/<0;1>/*)`,
    `sh(wpkh(${bip380.key}/<0;1>/*))`,
    `wpkh(${bip380.key}/0/*)`,
    `wpkh(${bip380.key}/<0;1>/*h)`,
    `wpkh(${bip380.key}/<1;0>/*)`,
    `tr(${bip380.key}/<0;1>/*,pk(${bip380.key}))`,
  ]) {
    throwsReason(() => parseDescriptor(withChecksum(body), "mainnet"), "descriptor-unsupported");
  }
});

test("an extended key of another network is refused", () => {
  throwsReason(
    () => parseDescriptor(testWallet("wpkh").descriptor.text, "mainnet"),
    "descriptor-wrong-network",
  );
});

test("BIP-341: the key without script tree gets the published output key, script and address", () => {
  // The vector gives an internal key, not an xpub: its parent with child key P is P − I_L·G, but BIP-32 hashes the
  // parent. So the tweak is checked on a wallet, against the formula on the vector's own figures.
  const withoutTree = bip341.scriptPubKey.find(({ given }) => given.scriptTree === null);
  assert.ok(withoutTree);
  const internalKey = withoutTree.given.internalPubkey;
  const outputKey = withoutTree.intermediary.tweakedPubkey;
  const { Point } = secp256k1;
  const tagged = (key: string) => {
    const tag = createHash("sha256").update("TapTweak").digest();
    return createHash("sha256")
      .update(Buffer.concat([tag, tag, Buffer.from(key, "hex")]))
      .digest();
  };
  const tweak = (key: string) =>
    Point.fromHex(`02${key}`)
      .add(Point.BASE.multiply(bytesToNumberBE(tagged(key))))
      .toHex(true)
      .slice(2);
  assert.equal(tweak(internalKey), outputKey);
  const derived = deriveKey(testWallet("tr").descriptor, [0, 7]);
  assert.equal(
    Buffer.from(derived.signingKey).toString("hex"),
    tweak(Buffer.from(derived.xOnlyKey).toString("hex")),
  );
});

const chainCodes = fc.uint8Array({ minLength: 32, maxLength: 32 });
const secrets = fc.bigInt({ min: 1n, max: secp256k1.Point.Fn.ORDER - 1n });
const kinds = fc.constantFrom<DescriptorKind>("wpkh", "tr");
const paths = fc.tuple(fc.constantFrom(0 as const, 1 as const), fc.nat(0x7fffffff));

test("a descriptor's text parses back to the same wallet on every network", () => {
  fc.assert(
    fc.property(
      kinds,
      fc.constantFrom(...networkSchema.options),
      secrets,
      chainCodes,
      (kind, network, secret, code) => {
        const publicKey = secp256k1.Point.BASE.multiply(secret).toBytes(true);
        const descriptor = createDescriptor(kind, network, publicKey, code);
        assert.deepEqual(parseDescriptor(descriptor.text, network), descriptor);
        assert.equal(descriptor.wallet, createHash("sha256").update(descriptor.text).digest("hex"));
      },
    ),
    { numRuns: 30 },
  );
});

test("child keys, addresses and δ agree with @scure/bip32 and @scure/btc-signer", () => {
  fc.assert(
    fc.property(kinds, secrets, chainCodes, paths, (kind, secret, chainCode, path) => {
      const root = secp256k1.Point.BASE.multiply(secret);
      const derived = deriveKey(createDescriptor(kind, "mainnet", root.toBytes(true), chainCode), path);
      const other = new HDKey({ publicKey: root.toBytes(true), chainCode })
        .deriveChild(path[0])
        .deriveChild(path[1]);
      assert.ok(other.publicKey);
      assert.deepEqual(derived.publicKey, Uint8Array.from(other.publicKey));
      const shifted = root.add(secp256k1.Point.BASE.multiply(bytesToNumberBE(derived.delta)));
      assert.deepEqual(derived.publicKey, shifted.toBytes(true));
      const payment = kind === "wpkh" ? btc.p2wpkh(derived.publicKey) : btc.p2tr(derived.xOnlyKey);
      assert.equal(derived.address, payment.address);
      assert.deepEqual(derived.script, Uint8Array.from(payment.script));
    }),
    { numRuns: 30 },
  );
});

test("a key that is no curve point, or a depth-0 key with a parent, is refused", () => {
  throwsReason(
    () => createDescriptor("wpkh", "regtest", Uint8Array.of(2, ...new Uint8Array(31), 5), new Uint8Array(32)),
    "descriptor-bad-key",
  );
  throwsReason(
    () => createDescriptor("wpkh", "regtest", secp256k1.Point.BASE.toBytes(false), new Uint8Array(32)),
    "descriptor-bad-key",
  );
});

test("hardened and fractional indexes are refused", () => {
  const { descriptor } = testWallet("wpkh");
  for (const index of [-1, 0.5, 0x80000000]) {
    throwsReason(() => deriveKey(descriptor, [0, index]), "path-out-of-range");
  }
});

test("full derivations start at the key origin where there is one", () => {
  const plain = testWallet("tr").descriptor;
  assert.deepEqual(fullDerivation(plain, [1, 5]).path, [1, 5]);
  const text = withChecksum(`tr([deadbeef/86h/1h/0h]${plain.text.slice(3, -9)}`);
  const origin = fullDerivation(parseDescriptor(text, "regtest"), [1, 5]);
  assert.deepEqual(origin.path, [0x80000056, 0x80000001, 0x80000000, 1, 5]);
  assert.equal(Buffer.from(origin.fingerprint).toString("hex"), "deadbeef");
});
