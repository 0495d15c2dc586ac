import { encodeCanonical, fromHex, type HashHex, type NodeIndex } from "@cairn/core";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { type EcdsaPublicData, ecdsaR, writeEcdsaPartial } from "../src/index.ts";
import { hash } from "./cluster.ts";

const { Fn, BASE } = secp256k1.Point;
const scalar = (name: string) => Fn.create(BigInt(`0x${hash(name)}`));

/** A presignature whose secrets the test knows: what its signers know alike, and the partial of each. */
export function ecdsaPresignature(name: string, signers: readonly NodeIndex[]) {
  const secret = scalar(`${name} key`);
  const parts = signers.map((node) => scalar(`${name} nonce ${node}`));
  const inverse = Fn.inv(parts.reduce((sum, part) => Fn.add(sum, part), 0n));
  const id = fromHex(hash(name));
  const data: EcdsaPublicData = {
    v: 1,
    id,
    path: [0, 0],
    epoch: 0,
    gamma: BASE.multiply(inverse).toBytes(true),
    keyId: fromHex(hash(`${name} key`)),
    level: "full",
    signers: [...signers],
    childKey: BASE.multiply(secret).toBytes(true),
    commitments: parts.map((part) => {
      const delta = Fn.mul(part, inverse);
      return [BASE.multiply(delta).toBytes(true), BASE.multiply(Fn.mul(delta, secret)).toBytes(true)];
    }),
  };
  const sum = (sighash: HashHex) => Fn.add(Fn.create(BigInt(`0x${sighash}`)), Fn.mul(ecdsaR(data), secret));
  return {
    data,
    publicData: new Uint8Array(encodeCanonical(data)),
    sigma: (node: NodeIndex, sighash: HashHex) => Fn.mul(parts[signers.indexOf(node)] ?? 0n, sum(sighash)),
    partial(node: NodeIndex, sighash: HashHex) {
      return new Uint8Array(writeEcdsaPartial(id, this.sigma(node, sighash)));
    },
  };
}
