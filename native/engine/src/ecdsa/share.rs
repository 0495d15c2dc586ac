//! What a node keeps of an ECDSA key, and of its auxiliary information.

use cggmp24::key_share::{DirtyAuxInfo, DirtyIncompleteKeyShare, Validate};
use cggmp24::{KeyShare, key_share::AuxInfo};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::codec;
use crate::context::{KeyRef, Transcript};
use crate::ecdsa::Curve;
use crate::failure::{Code, Failure};
use crate::level::Security;
use crate::public_package::{Protocol, PublicPackage, check_parties, position};
use crate::vault::{BlobKind, NO_ID, Vault};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredAux {
    v: u8,
    parties: Vec<u16>,
    aux: DirtyAuxInfo<Security>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredShare {
    v: u8,
    package: ByteBuf,
    core: DirtyIncompleteKeyShare<Curve>,
    aux: DirtyAuxInfo<Security>,
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
        parties: parties.to_vec(),
        aux: (**aux).clone(),
    };
    vault.seal(
        BlobKind::EcdsaAux,
        KeyRef::NONE,
        &NO_ID,
        &codec::encode_secret(&stored)?,
    )
}

/// Opens auxiliary information and checks that it was made among exactly `parties`.
pub fn open_aux(vault: &Vault, parties: &[u16], sealed: &[u8]) -> Result<AuxInfo<Security>, Failure> {
    let plain = vault.open(BlobKind::EcdsaAux, KeyRef::NONE, &NO_ID, sealed)?;
    let stored: StoredAux = codec::decode(&plain).map_err(|_| damaged())?;
    if stored.v != VERSION || stored.parties != parties || stored.aux.N.len() != parties.len() {
        return Err(Failure::new(
            Code::SealedBlobInvalid,
            "the auxiliary information was made among other parties; run the auxiliary session again",
        ));
    }
    stored.aux.validate().map_err(|_| damaged())
}

pub fn seal_share(
    vault: &Vault,
    key_ref: KeyRef,
    package: &[u8],
    key: &KeyShare<Curve, Security>,
) -> Result<Vec<u8>, Failure> {
    let stored = StoredShare {
        v: VERSION,
        package: ByteBuf::from(package),
        core: key.core.clone(),
        aux: key.aux.clone(),
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
    let stored: StoredShare = codec::decode(&plain).map_err(|_| damaged())?;
    let package = PublicPackage::read(&stored.package)?;
    check_parties(&package.parties)?;
    let fits = stored.v == VERSION
        && package.protocol == Protocol::Cggmp24
        && package.key_id.as_slice() == key_ref.key_id
        && package.epoch == key_ref.epoch
        && position(&package.parties, me)? == stored.core.i;
    if !fits {
        return Err(damaged());
    }
    let core = stored.core.validate().map_err(|_| damaged())?;
    let aux = stored.aux.validate().map_err(|_| damaged())?;
    let key = KeyShare::from_parts((core, aux)).map_err(|_| damaged())?;
    Ok(Share {
        package,
        package_bytes: stored.package.into_vec(),
        key,
    })
}

fn damaged() -> Failure {
    Failure::new(
        Code::SealedBlobInvalid,
        "the sealed share opened but its content is damaged; restore it from a backup",
    )
}
