import { createHash } from "node:crypto";
import { AUDIT_ROOT, type Checkpoint, checkpointSchema, type Network, satsSchema } from "@cairn/core";
import { schnorr, secp256k1 } from "@noble/curves/secp256k1.js";
import { bytesToNumberBE, numberToBytesBE } from "@noble/curves/utils.js";
import {
  type CheckedSpend,
  createDescriptor,
  type Descriptor,
  type DescriptorKind,
  deriveKey,
  hash,
  MemoryChainSource,
  type PsbtRules,
} from "../src/index.ts";

/** A wallet whose root key a single test holds, where a cluster would hold shares of it. */
export interface TestWallet {
  readonly descriptor: Descriptor;
  /** One 64-byte signature for each input, as the threshold engine gives them. */
  sign(spend: CheckedSpend): Uint8Array[];
}

function digestOf(text: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(text).digest());
}

export function testWallet(kind: DescriptorKind, seed = "wallet", network: Network = "regtest"): TestWallet {
  const order = secp256k1.Point.Fn.ORDER;
  const root = (bytesToNumberBE(digestOf(`${seed}/key`)) % (order - 1n)) + 1n;
  const publicKey = secp256k1.getPublicKey(numberToBytesBE(root, 32), true);
  const descriptor = createDescriptor(kind, network, publicKey, digestOf(`${seed}/chain code`));
  return {
    descriptor,
    sign(spend) {
      return spend.inputs.map((input) => {
        const key = deriveKey(descriptor, input.path);
        const child = (root + bytesToNumberBE(key.delta)) % order;
        if (kind === "wpkh") {
          return secp256k1.sign(input.sighash.digest, numberToBytesBE(child, 32), {
            prehash: false,
            lowS: true,
          });
        }
        // BIP-341: negate for an even y, then add the tweak of the internal key.
        const even = key.publicKey[0] === 2 ? child : order - child;
        const tweak = bytesToNumberBE(hash.tagged("TapTweak", key.xOnlyKey));
        const secret = numberToBytesBE((even + tweak) % order, 32);
        return schnorr.sign(input.sighash.digest, secret, new Uint8Array(32));
      });
    },
  };
}

/** A script of somebody else, with its address on regtest. */
export function strangerKey(kind: DescriptorKind, index: number) {
  return deriveKey(testWallet(kind, "stranger").descriptor, [0, index]);
}

/** A chain on which each of `coins` has paid the wallet's receive branch, index by index. */
export function fundedChain(descriptor: Descriptor, amounts: readonly bigint[]) {
  const chain = new MemoryChainSource();
  const coins = amounts.map((amountSats, index) => {
    const path = [0, index] as const;
    const transaction = chain.fund(deriveKey(descriptor, path).script, amountSats);
    return {
      outpoint: { txid: transaction.txid, vout: 0 },
      amountSats,
      path,
      previousTransaction: transaction.raw,
      vout: 0,
    };
  });
  chain.mine();
  return { chain, coins };
}

/** Rules for a request of `outputs` from `descriptor`. */
export function rulesFor(
  descriptor: Descriptor,
  outputs: readonly { readonly address: string; readonly amountSats: bigint }[],
  others: {
    readonly maxFeeSats?: bigint;
    readonly tipHeight?: number;
    readonly nextChangeIndex?: number;
    readonly anchor?: Checkpoint;
  } = {},
): PsbtRules {
  return {
    descriptor,
    request: {
      network: descriptor.network,
      wallet: descriptor.wallet,
      outputs: outputs.map((output) => ({ ...output, amountSats: satsSchema.parse(output.amountSats) })),
      maxFeeSats: satsSchema.parse(others.maxFeeSats ?? 10_000n),
    },
    tipHeight: others.tipHeight ?? 100,
    nextChangeIndex: others.nextChangeIndex ?? 0,
    ...(others.anchor === undefined ? {} : { anchor: others.anchor }),
  };
}

/** A random source that gives the same bytes for the same seed: SHA-256 of seed and counter. */
export function seededRandom(seed: string) {
  let counter = 0;
  return {
    bytes(length: number): Uint8Array {
      const out = new Uint8Array(length);
      for (let at = 0; at < length; at += 32) {
        counter += 1;
        out.set(digestOf(`${seed}/${counter}`).subarray(0, Math.min(32, length - at)), at);
      }
      return out;
    },
  };
}

/** A checkpoint of two empty logs, of which only the bytes matter here. */
export function testCheckpoint(sequence: number): Checkpoint {
  return checkpointSchema.parse({
    version: 1,
    cluster: "c1".repeat(32),
    manifestHash: "a1".repeat(32),
    sequence,
    previous: "b1".repeat(32),
    heads: [1, 2].map((node) => ({ node, epoch: 0, length: 0, hash: AUDIT_ROOT })),
    createdAt: 1_800_000_000_000,
  });
}
