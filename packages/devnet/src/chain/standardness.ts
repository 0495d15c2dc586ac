import { secp256k1 } from "@noble/curves/secp256k1.js";
import { SigHash } from "@scure/btc-signer";
import type { Coin } from "./coins.ts";
import { dustThresholdSats, lastPush, outputType, pushesOnly, witnessProgram } from "./output-script.ts";
import { rejection, rpcErrors } from "./rejection.ts";
import type { Transaction, TransactionInput } from "./transaction.ts";

const maxStandardWeight = 400_000;
const minStandardStrippedSize = 65;
const maxStandardScriptSig = 1650;
const maxDatacarrierBytes = 100_000;
const maxWitnessScript = 3600;
const maxWitnessItems = 100;
const maxWitnessItem = 80;
const annexTag = 0x50;
const tapscriptLeaf = 0xc0;
const anyoneCanPay = 0x80;

/**
 * Bitcoin Core's relay policy on the transaction alone (`IsStandardTx`): version, weight, input scripts, kinds of
 * output, dust.
 * @throws CairnError `chain-rejected`
 */
export function checkStandard(transaction: Transaction): void {
  if (transaction.version < 1 || transaction.version > 3) throw rejection("version");
  if (transaction.weight > maxStandardWeight) throw rejection("tx-size");
  for (const { scriptSig } of transaction.inputs) {
    if (scriptSig.length > maxStandardScriptSig) throw rejection("scriptsig-size");
    if (!pushesOnly(scriptSig)) throw rejection("scriptsig-not-pushonly");
  }
  let dataBytes = 0;
  for (const { amountSats, scriptPubKey } of transaction.outputs) {
    const type = outputType(scriptPubKey);
    if (type === "unknown" || type === "empty") throw rejection("scriptpubkey");
    if (type === "op_return") dataBytes += scriptPubKey.length;
    else if (amountSats < dustThresholdSats(scriptPubKey)) throw rejection("dust");
  }
  if (dataBytes > maxDatacarrierBytes) throw rejection("datacarrier");
  if (transaction.strippedSize < minStandardStrippedSize) throw rejection("tx-size-small");
}

/**
 * Refuses to burn coins: `sendrawtransaction` does by default.
 * @throws CairnError `chain-rejected`
 */
export function checkNothingBurnt(transaction: Transaction): void {
  for (const { amountSats, scriptPubKey } of transaction.outputs) {
    if (outputType(scriptPubKey) === "op_return" && amountSats > 0n) {
      throw rejection(
        "Unspendable output exceeds maximum configured by user (maxburnamount)",
        undefined,
        rpcErrors.transaction,
      );
    }
  }
}

/**
 * Bitcoin Core's relay policy on what the inputs spend and show (`AreInputsStandard`, `IsWitnessStandard`, and the
 * signature form that relay demands of P2WPKH beyond consensus).
 * @param coins the coins that the inputs spend, in order
 * @throws CairnError `chain-rejected`
 */
export function checkStandardInputs(transaction: Transaction, coins: readonly Coin[]): void {
  transaction.inputs.forEach((input, index) => {
    const coin = coins[index];
    if (coin === undefined) throw new RangeError(`no coin was given for input ${index}`);
    const type = outputType(coin.scriptPubKey);
    if (type === "unknown" || type === "empty" || type === "witness_unknown") {
      throw rejection("bad-txns-nonstandard-inputs", `input ${index}`);
    }
    if (input.witness.length > 0) checkStandardWitness(input, coin);
    if (type === "v0_p2wpkh") checkSignatureForm(input, index);
  });
}

function checkStandardWitness(input: TransactionInput, coin: Coin): void {
  const refuse = () => rejection("bad-witness-nonstandard");
  const type = outputType(coin.scriptPubKey);
  if (type === "p2a") throw refuse();
  const script = type === "p2sh" ? lastPush(input.scriptSig) : coin.scriptPubKey;
  const program = script === undefined ? undefined : witnessProgram(script);
  if (program === undefined) throw refuse();
  const { witness } = input;
  if (program.version === 0 && program.program.length === 32) {
    if ((witness.at(-1)?.length ?? 0) > maxWitnessScript) throw refuse();
    if (witness.length - 1 > maxWitnessItems) throw refuse();
    if (witness.slice(0, -1).some((item) => item.length > maxWitnessItem)) throw refuse();
  }
  if (program.version === 1 && program.program.length === 32 && type !== "p2sh") {
    if (witness.length >= 2 && witness.at(-1)?.[0] === annexTag) throw refuse();
    const control = witness.length >= 2 ? witness.at(-1) : undefined;
    if (control !== undefined && ((control[0] ?? 0) & 0xfe) === tapscriptLeaf) {
      if (witness.slice(0, -2).some((item) => item.length > maxWitnessItem)) throw refuse();
    }
  }
}

function checkSignatureForm(input: TransactionInput, index: number): void {
  const [signature, publicKey] = input.witness;
  // Anything else than two items fails in the interpreter, which names the consensus rule.
  if (signature === undefined || publicKey === undefined || signature.length === 0) return;
  const refuse = (why: string) => rejection(`non-mandatory-script-verify-flag (${why})`, `input ${index}`);
  if (publicKey.length !== 33) throw refuse("Using non-compressed keys in segwit");
  const type = (signature.at(-1) ?? 0) & ~anyoneCanPay;
  if (type < SigHash.ALL || type > SigHash.SINGLE)
    throw refuse("Signature hash type missing or not understood");
  if (isHighS(signature.subarray(0, -1)))
    throw refuse("Non-canonical signature: S value is unnecessarily high");
}

function isHighS(der: Uint8Array): boolean {
  try {
    return secp256k1.Signature.fromBytes(der, "der").hasHighS();
  } catch {
    // Not DER: consensus (BIP-66) refuses it, and the interpreter says so.
    return false;
  }
}
