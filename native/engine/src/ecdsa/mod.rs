//! CGGMP24 threshold ECDSA over secp256k1, on the `cggmp24` crate.

pub mod aux_info;
pub mod blame;
pub mod keygen;
mod lanes;
pub mod partial;
pub mod share;
pub mod sign;

use cggmp24::supported_curves::Secp256k1;

use crate::level::Security;

pub type Curve = Secp256k1;
pub type Digest = sha2::Sha256;
pub type AuxMsg = cggmp24::key_refresh::Msg<Digest, Security>;
pub type KeygenMsg = cggmp24::keygen::ThresholdMsg<Curve, Security, Digest>;
pub type SignMsg = cggmp24::signing::msg::Msg<Curve, Digest>;
