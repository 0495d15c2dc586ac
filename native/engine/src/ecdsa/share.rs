//! What a node keeps of an ECDSA key, and of its auxiliary information.

use cggmp24::generic_ec::serde::CurveName;
use cggmp24::generic_ec::{NonZero, Scalar, SecretScalar};
use cggmp24::key_share::{AuxInfo, DirtyAuxInfo, DirtyIncompleteKeyShare, DirtyKeyInfo, Validate, VssSetup};
use cggmp24::supported_curves::Secp256k1;
use cggmp24::{IncompleteKeyShare, KeyShare};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::codec;
use crate::context::{KeyRef, Transcript};
use crate::ecdsa::Curve;
use crate::failure::{Code, Failure};
use crate::level::Security;
use crate::public_package::{Protocol, PublicPackage, check_parties, position, read_point};
use crate::vault::{BlobKind, NO_ID, Vault};

const VERSION: u8 = 1;

/// Auxiliary information as it is sealed. Its numbers stand as bytes, so that key generation, which takes them along unread, need not parse
/// and check them again.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredAux {
    v: u8,
    hash: ByteArray<32>,
    parties: Vec<u16>,
    aux: Secret,
}

/// A share as it is sealed. What is public stands in the package only.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredShare {
    v: u8,
    package: ByteBuf,
    x: NonZero<SecretScalar<Secp256k1>>,
    aux: Secret,
}

/// Bytes that are wiped.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Secret(#[serde(with = "serde_bytes")] Vec<u8>);

/// This node's opened auxiliary information: valid, since only what is valid is sealed.
pub struct OwnAux {
    /// [`aux_hash`] of its public part.
    pub hash: [u8; 32],
    encoded: Secret,
}

/// A key share with the public package it belongs to.
pub struct Share {
    pub package: PublicPackage,
    pub package_bytes: Vec<u8>,
    pub key: KeyShare<Curve, Security>,
}

/// SHA-256 of all parties' public parameters, in party order: equal at all honest parties.
pub fn aux_hash(aux: &DirtyAuxInfo<Security>) -> [u8; 32] {
    let mut transcript = Transcript::new("cairn/engine/aux/v1").number(aux.N.len() as u64);
    for (modulus, pedersen) in aux.N.iter().zip(&aux.pedersen_params) {
        for number in [modulus, &pedersen.hat_N, &pedersen.s, &pedersen.t] {
            transcript = transcript.field(&number.to_bytes_msf());
        }
    }
    transcript.finish()
}

pub fn seal_aux(vault: &Vault, parties: &[u16], aux: &AuxInfo<Security>) -> Result<Vec<u8>, Failure> {
    let stored = StoredAux {
        v: VERSION,
        hash: ByteArray::new(aux_hash(aux)),
        parties: parties.to_vec(),
        aux: Secret(codec::encode_secret(&**aux)?.to_vec()),
    };
    vault.seal(
        BlobKind::EcdsaAux,
        KeyRef::NONE,
        &NO_ID,
        &codec::encode_secret(&stored)?,
    )
}

/// Opens auxiliary information and checks that it was made among exactly `parties`.
pub fn open_aux(vault: &Vault, parties: &[u16], sealed: &[u8]) -> Result<OwnAux, Failure> {
    let plain = vault.open(BlobKind::EcdsaAux, KeyRef::NONE, &NO_ID, sealed)?;
    let stored: StoredAux = codec::decode_own(&plain).map_err(|_| damaged())?;
    if stored.v != VERSION || stored.parties != parties {
        return Err(Failure::new(
            Code::SealedBlobInvalid,
            "the auxiliary information was made among other parties; run the auxiliary session again",
        ));
    }
    Ok(OwnAux {
        hash: stored.hash.into_array(),
        encoded: stored.aux,
    })
}

pub fn seal_share(
    vault: &Vault,
    key_ref: KeyRef,
    package: &[u8],
    core: IncompleteKeyShare<Curve>,
    aux: OwnAux,
) -> Result<Vec<u8>, Failure> {
    let stored = StoredShare {
        v: VERSION,
        package: ByteBuf::from(package),
        x: core.into_inner().x,
        aux: aux.encoded,
    };
    vault.seal(
        BlobKind::EcdsaShare,
        key_ref,
        &NO_ID,
        &codec::encode_secret(&stored)?,
    )
}

/// Opens a share and checks that it is whole and `me`'s.
pub fn open_share(vault: &Vault, key_ref: KeyRef, me: u16, sealed: &[u8]) -> Result<Share, Failure> {
    let plain = vault.open(BlobKind::EcdsaShare, key_ref, &NO_ID, sealed)?;
    let stored: StoredShare = codec::decode_own(&plain).map_err(|_| damaged())?;
    let package = PublicPackage::read(&stored.package)?;
    check_parties(&package.parties)?;
    let fits = stored.v == VERSION
        && package.protocol == Protocol::Cggmp24
        && package.key_id.as_slice() == key_ref.key_id
        && package.epoch == key_ref.epoch;
    if !fits {
        return Err(damaged());
    }
    let core = core(&package, me, stored.x)?;
    let aux: DirtyAuxInfo<Security> = codec::decode_own(&stored.aux.0).map_err(|_| damaged())?;
    let aux = aux.validate().map_err(|_| damaged())?;
    let key = KeyShare::from_parts((core, aux)).map_err(|_| damaged())?;
    Ok(Share {
        package,
        package_bytes: stored.package.into_vec(),
        key,
    })
}

/// The crate's form of a share: key generation gives the party at position j the value of the polynomial at j + 1.
fn core(
    package: &PublicPackage,
    me: u16,
    x: NonZero<SecretScalar<Secp256k1>>,
) -> Result<IncompleteKeyShare<Curve>, Failure> {
    let places = (1..=package.parties.len())
        .map(|place| NonZero::from_scalar(Scalar::from(place as u64)))
        .collect::<Option<Vec<_>>>();
    DirtyIncompleteKeyShare {
        i: position(&package.parties, me)?,
        key_info: DirtyKeyInfo {
            curve: CurveName::new(),
            shared_public_key: package.key()?,
            public_shares: package
                .public_shares
                .iter()
                .map(|point| read_point(point.as_slice()))
                .collect::<Result<_, _>>()?,
            vss_setup: Some(VssSetup {
                min_signers: package.threshold,
                I: places.ok_or_else(damaged)?,
            }),
            chain_code: Some(package.chain_code.into_array()),
        },
        x,
    }
    .validate()
    .map_err(|_| damaged())
}

fn damaged() -> Failure {
    Failure::new(
        Code::SealedBlobInvalid,
        "the sealed share opened but its content is damaged; restore it from a backup",
    )
}
