//! FROST threshold Schnorr signatures for taproot, on the `frost-secp256k1-tr` crate.

pub mod key;
pub mod keygen;
pub mod opened_shares;
pub mod sign;

use std::collections::BTreeMap;

use frost_secp256k1_tr::{Error, Identifier};

use crate::failure::{Code, Failure};

/// FROST's identifier of a node is its index, so that it stays the same in every subset of signers.
pub fn identifier(node: u16) -> Result<Identifier, Failure> {
    Identifier::try_from(node).map_err(|_| Failure::malformed("node index 0 names nobody"))
}

/// Node indices by identifier.
pub fn identifiers(nodes: &[u16]) -> Result<BTreeMap<Identifier, u16>, Failure> {
    nodes.iter().map(|&node| Ok((identifier(node)?, node))).collect()
}

/// Maps an error of the crate that other parties can cause; whom it names is blamed.
pub fn failure(error: &Error, nodes: &BTreeMap<Identifier, u16>, round: u8) -> Failure {
    let blamed: Vec<u16> = error
        .culprits()
        .iter()
        .filter_map(|id| nodes.get(id).copied())
        .collect();
    let code = match error {
        Error::InvalidSignature => Code::InvalidSignature,
        _ if blamed.is_empty() => Code::Internal,
        _ => Code::InvalidRoundMessage,
    };
    Failure::new(code, format!("a FROST step failed: {error}"))
        .at_round(round)
        .blaming(blamed)
}
