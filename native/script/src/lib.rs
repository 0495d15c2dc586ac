//! Bitcoin Core's own script interpreter (libbitcoinconsensus) as one JavaScript function.
//!
//! The development chain asks it about every input of every transaction, so that what the chain accepts is
//! what Bitcoin accepts. No business rules live here: arguments are checked for range, handed to the library,
//! and its verdict becomes an error with a code. Nothing unwinds into Node: a panic is caught and reported.
#![deny(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use bitcoinconsensus::{
    Error as ConsensusError, Utxo, VERIFY_ALL_PRE_TAPROOT, VERIFY_TAPROOT, verify_with_flags,
};
use napi::bindgen_prelude::{BigInt, Buffer};
use napi_derive::napi;

/// 21 million bitcoins in satoshis, the largest amount consensus lets an output carry.
const MAX_MONEY_SATS: u64 = 21_000_000 * 100_000_000;

/// The reason a check failed; its text becomes `error.code` in JavaScript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    ScriptFailed,
    InputIndexOutOfRange,
    TransactionSizeMismatch,
    TransactionMalformed,
    FlagsInvalid,
    SpentOutputsMismatch,
    AmountOutOfRange,
    Panicked,
}

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        match self {
            Code::ScriptFailed => "script-failed",
            Code::InputIndexOutOfRange => "input-index-out-of-range",
            Code::TransactionSizeMismatch => "transaction-size-mismatch",
            Code::TransactionMalformed => "transaction-malformed",
            Code::FlagsInvalid => "flags-invalid",
            Code::SpentOutputsMismatch => "spent-outputs-mismatch",
            Code::AmountOutOfRange => "amount-out-of-range",
            Code::Panicked => "panicked",
        }
    }
}

type Failure = napi::Error<Code>;

/// One output that the transaction spends, in the order of its inputs.
#[napi(object, object_to_js = false)]
pub struct SpentOutput {
    /// Its value in satoshis.
    pub amount_sats: BigInt,
    /// Its locking script.
    pub script_pub_key: Buffer,
}

/// Checks that input `input_index` of `tx` (wire serialization, witness included) may spend
/// `spent_outputs[input_index]`. All spent outputs are needed, since BIP341 signs all of them.
/// `flags` are libbitcoinconsensus bits; without them every rule that the library knows applies, taproot included.
///
/// Returns nothing when the spend is valid and throws an error with a `code` otherwise.
#[napi]
pub fn verify_input(
    tx: Buffer,
    input_index: u32,
    spent_outputs: Vec<SpentOutput>,
    flags: Option<u32>,
) -> Result<(), Failure> {
    catch_unwind(AssertUnwindSafe(|| {
        check(&tx, input_index, &spent_outputs, flags)
    }))
    .unwrap_or_else(|_| {
        Err(Failure::new(
            Code::Panicked,
            "the script checker failed internally; the input was not checked",
        ))
    })
}

fn check(
    tx: &[u8],
    input_index: u32,
    spent_outputs: &[SpentOutput],
    flags: Option<u32>,
) -> Result<(), Failure> {
    let mut utxos = Vec::with_capacity(spent_outputs.len());
    for output in spent_outputs {
        let script: &[u8] = &output.script_pub_key;
        let script_pubkey_len = u32::try_from(script.len())
            .map_err(|_| Failure::new(Code::SpentOutputsMismatch, "a spent output's script is too long"))?;
        let value = i64::try_from(amount(&output.amount_sats)?).map_err(|_| amount_out_of_range())?;
        utxos.push(Utxo {
            script_pubkey: script.as_ptr(),
            script_pubkey_len,
            value,
        });
    }
    let index = input_index as usize;
    let Some(spent) = spent_outputs.get(index) else {
        return Err(Failure::new(
            Code::InputIndexOutOfRange,
            "no spent output was given for this input; pass one for every input, in order",
        ));
    };
    verify_with_flags(
        &spent.script_pub_key,
        amount(&spent.amount_sats)?,
        tx,
        Some(&utxos),
        index,
        flags.unwrap_or(VERIFY_ALL_PRE_TAPROOT | VERIFY_TAPROOT),
    )
    .map_err(refusal)
}

fn amount(sats: &BigInt) -> Result<u64, Failure> {
    let (negative, value, lossless) = sats.get_u64();
    if (negative && value != 0) || !lossless || value > MAX_MONEY_SATS {
        return Err(amount_out_of_range());
    }
    Ok(value)
}

fn amount_out_of_range() -> Failure {
    Failure::new(
        Code::AmountOutOfRange,
        "a spent output's amount lies outside 0 to 21 million bitcoins",
    )
}

fn refusal(error: ConsensusError) -> Failure {
    match error {
        ConsensusError::ERR_SCRIPT => Failure::new(
            Code::ScriptFailed,
            "the input's script or witness does not satisfy the output it spends",
        ),
        ConsensusError::ERR_TX_INDEX => Failure::new(
            Code::InputIndexOutOfRange,
            "the transaction has no input with this index",
        ),
        ConsensusError::ERR_TX_SIZE_MISMATCH => Failure::new(
            Code::TransactionSizeMismatch,
            "bytes follow the end of the transaction",
        ),
        ConsensusError::ERR_TX_DESERIALIZE => {
            Failure::new(Code::TransactionMalformed, "the transaction cannot be decoded")
        }
        ConsensusError::ERR_INVALID_FLAGS => Failure::new(
            Code::FlagsInvalid,
            "the flags hold a bit that libbitcoinconsensus does not know",
        ),
        ConsensusError::ERR_AMOUNT_REQUIRED
        | ConsensusError::ERR_SPENT_OUTPUTS_REQUIRED
        | ConsensusError::ERR_SPENT_OUTPUTS_MISMATCH => Failure::new(
            Code::SpentOutputsMismatch,
            "the spent outputs do not match the transaction's inputs in number",
        ),
    }
}
