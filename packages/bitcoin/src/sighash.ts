import { concatBytes } from "@noble/hashes/utils.js";
import { hash } from "./hash.ts";
import { encodeOutputScript } from "./output-script.ts";
import type { TransactionOutput, UnsignedTransaction } from "./transaction.ts";
import { wire } from "./wire.ts";

/** What one input's signature is made over. */
export interface Sighash {
  /**
   * `wpkh`: the BIP-143 preimage; its double SHA-256 is the digest.
   * `tr`: `0x00 ‖ SigMsg` of BIP-341; its tagged hash "TapSighash" is the digest.
   */
  readonly preimage: Uint8Array;
  /** 32 bytes. */
  readonly digest: Uint8Array;
}

const sighashAll = 1;
const sighashDefault = 0;

/**
 * Sighashes of a P2WPKH input under SIGHASH_ALL (BIP-143) or a P2TR input by key path under SIGHASH_DEFAULT (BIP-341,
 * no annex), by the type of each previous output.
 */
export class SighashBuilder {
  readonly #transaction: UnsignedTransaction;
  readonly #previousOutputs: readonly TransactionOutput[];
  readonly #parts: {
    readonly prevouts: Uint8Array;
    readonly amounts: Uint8Array;
    readonly scripts: Uint8Array;
    readonly sequences: Uint8Array;
    readonly outputs: Uint8Array;
  };

  /**
   * @param previousOutputs the outputs that the inputs spend, in their order
   * @throws RangeError when their number is not that of the inputs
   */
  constructor(transaction: UnsignedTransaction, previousOutputs: readonly TransactionOutput[]) {
    if (previousOutputs.length !== transaction.inputs.length) {
      throw new RangeError("a sighash needs the previous output of every input");
    }
    this.#transaction = transaction;
    this.#previousOutputs = previousOutputs;
    const { inputs, outputs } = transaction;
    // Single SHA-256 of each field over the whole transaction: BIP-341 uses it as it is, BIP-143 hashes it once more.
    this.#parts = {
      prevouts: hash.sha256(concatBytes(...inputs.map(outpointBytes))),
      amounts: hash.sha256(concatBytes(...previousOutputs.map((output) => wire.u64(output.amountSats)))),
      scripts: hash.sha256(concatBytes(...previousOutputs.map((output) => wire.varBytes(output.script)))),
      sequences: hash.sha256(concatBytes(...inputs.map((input) => wire.u32(input.sequence)))),
      outputs: hash.sha256(
        concatBytes(...outputs.map((o) => concatBytes(wire.u64(o.amountSats), wire.varBytes(o.script)))),
      ),
    };
  }

  /**
   * BIP-143, SIGHASH_ALL, for an input that spends a P2WPKH output.
   * @throws RangeError when there is no such input
   */
  segwitV0(index: number): Sighash {
    const { version, lockTime } = this.#transaction;
    const { input, previous } = this.#at(index);
    const scriptCode = encodeOutputScript({ type: "p2pkh", program: previous.script.slice(2) });
    const preimage = concatBytes(
      wire.u32(version),
      hash.sha256(this.#parts.prevouts),
      hash.sha256(this.#parts.sequences),
      outpointBytes(input),
      wire.varBytes(scriptCode),
      wire.u64(previous.amountSats),
      wire.u32(input.sequence),
      hash.sha256(this.#parts.outputs),
      wire.u32(lockTime),
      wire.u32(sighashAll),
    );
    return { preimage, digest: hash.sha256d(preimage) };
  }

  /**
   * BIP-341, SIGHASH_DEFAULT, key path, no annex.
   * @throws RangeError when there is no such input
   */
  taprootKeyPath(index: number): Sighash {
    this.#at(index);
    const { version, lockTime } = this.#transaction;
    const epoch = 0;
    const spendType = 0;
    const preimage = concatBytes(
      Uint8Array.of(epoch, sighashDefault),
      wire.u32(version),
      wire.u32(lockTime),
      this.#parts.prevouts,
      this.#parts.amounts,
      this.#parts.scripts,
      this.#parts.sequences,
      this.#parts.outputs,
      Uint8Array.of(spendType),
      wire.u32(index),
    );
    return { preimage, digest: hash.tagged("TapSighash", preimage) };
  }

  #at(index: number) {
    const input = this.#transaction.inputs[index];
    const previous = this.#previousOutputs[index];
    if (input === undefined || previous === undefined) {
      throw new RangeError(`the transaction has no input ${index}`);
    }
    return { input, previous };
  }
}

function outpointBytes(outpoint: { readonly txid: string; readonly vout: number }): Uint8Array {
  return concatBytes(Uint8Array.from(Buffer.from(outpoint.txid, "hex")).reverse(), wire.u32(outpoint.vout));
}
