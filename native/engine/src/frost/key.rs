//! A FROST key at rest, and its children.

use std::collections::BTreeMap;

use cggmp24::generic_ec::{Point, Scalar};
use cggmp24::supported_curves::Secp256k1;
use frost_secp256k1_tr::keys::{KeyPackage, PublicKeyPackage, SigningShare, Tweak, VerifyingShare};
use frost_secp256k1_tr::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::child::KeyPath;
use crate::codec;
use crate::context::KeyRef;
use crate::failure::{Code, Failure};
use crate::frost::identifier;
use crate::public_package::{Protocol, PublicPackage, position, read_point, write_point};
use crate::vault::{BlobKind, NO_ID, Vault};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize, Zeroize)]
#[serde(deny_unknown_fields)]
struct StoredShare {
    v: u8,
    #[zeroize(skip)]
    package: ByteBuf,
    secret: Secret,
}

#[derive(Serialize, Deserialize)]
struct Secret(ByteArray<32>);

impl Zeroize for Secret {
    fn zeroize(&mut self) {
        self.0.as_mut().zeroize();
    }
}

/// An opened share with the public package it belongs to.
pub struct Share {
    pub package: PublicPackage,
    pub package_bytes: Vec<u8>,
    me: u16,
    secret: Zeroizing<Vec<u8>>,
}

pub fn seal_share(
    vault: &Vault,
    key_ref: KeyRef,
    package: &[u8],
    secret: &SigningShare,
) -> Result<Vec<u8>, Failure> {
    let bytes = Zeroizing::new(secret.serialize());
    let array = <[u8; 32]>::try_from(bytes.as_slice())
        .map_err(|_| Failure::internal("a signing share is not 32 bytes"))?;
    let stored = Zeroizing::new(StoredShare {
        v: VERSION,
        package: ByteBuf::from(package),
        secret: Secret(ByteArray::new(array)),
    });
    vault.seal(
        BlobKind::FrostShare,
        key_ref,
        &NO_ID,
        &codec::encode_secret(&*stored)?,
    )
}

/// Opens a share and checks that it is whole and `me`'s.
pub fn open_share(vault: &Vault, key_ref: KeyRef, me: u16, sealed: &[u8]) -> Result<Share, Failure> {
    let damaged = || {
        Failure::new(
            Code::SealedBlobInvalid,
            "the sealed share opened but its content is damaged; restore it from a backup",
        )
    };
    let plain = vault.open(BlobKind::FrostShare, key_ref, &NO_ID, sealed)?;
    let stored = Zeroizing::new(codec::decode_own::<StoredShare>(&plain).map_err(|_| damaged())?);
    let package = PublicPackage::read(&stored.package)?;
    let fits = stored.v == VERSION
        && package.protocol == Protocol::Frost
        && package.key_id.as_slice() == key_ref.key_id
        && package.epoch == key_ref.epoch;
    if !fits {
        return Err(damaged());
    }
    let share = Share {
        me,
        package_bytes: stored.package.to_vec(),
        secret: Zeroizing::new(stored.secret.0.to_vec()),
        package,
    };
    let public = write_point(&(Point::generator() * share.scalar()?))?;
    let at = usize::from(position(&share.package.parties, me)?);
    if share.package.public_shares.get(at) != Some(&public) {
        return Err(damaged());
    }
    Ok(share)
}

impl Share {
    fn scalar(&self) -> Result<Scalar<Secp256k1>, Failure> {
        Scalar::from_be_bytes(&*self.secret).map_err(|_| Failure::internal("a signing share is not a scalar"))
    }

    /// The share of the group key itself; nonces are hedged with it.
    pub fn signing_share(&self) -> Result<SigningShare, Failure> {
        SigningShare::deserialize(&self.secret)
            .map_err(|_| Failure::internal("a signing share is not a scalar"))
    }

    /// This node's key at `path`: x + δ, before the BIP-341 tweak.
    pub fn child(&self, path: KeyPath) -> Result<KeyPackage, Failure> {
        let derived = self.package.child(path)?;
        let mut shifted = self.scalar()? + derived.shift;
        let bytes = Zeroizing::new(shifted.to_be_bytes().as_bytes().to_vec());
        shifted.zeroize();
        let secret = SigningShare::deserialize(&bytes)
            .map_err(|_| Failure::internal("a child share is not a scalar"))?;
        let public = VerifyingShare::from(secret);
        Ok(KeyPackage::new(
            identifier(self.me)?,
            secret,
            public,
            verifying_key(&derived.child)?,
            self.package.threshold,
        ))
    }
}

fn verifying_key(point: &Point<Secp256k1>) -> Result<VerifyingKey, Failure> {
    VerifyingKey::deserialize(write_point(point)?.as_slice())
        .map_err(|_| Failure::internal("a child key is not a point"))
}

/// All parties' public shares at `path`: X_j + δG, before the BIP-341 tweak.
pub fn child_public(package: &PublicPackage, path: KeyPath) -> Result<PublicKeyPackage, Failure> {
    let derived = package.child(path)?;
    let shift = Point::generator() * derived.shift;
    let shares: BTreeMap<_, _> = package
        .parties
        .iter()
        .zip(&package.public_shares)
        .map(|(&node, share)| {
            let shifted = write_point(&(read_point(share.as_slice())? + shift))?;
            let share = VerifyingShare::deserialize(shifted.as_slice())
                .map_err(|_| Failure::internal("a child share is not a point"))?;
            Ok((identifier(node)?, share))
        })
        .collect::<Result<_, Failure>>()?;
    Ok(PublicKeyPackage::new(
        shares,
        verifying_key(&derived.child)?,
        Some(package.threshold),
    ))
}

/// BIP-341's sighash of `preimage` = 0x00 ‖ SigMsg, hashed here: nobody can ask for a bare hash.
pub fn tap_sighash(preimage: &[u8]) -> [u8; 32] {
    let tag = Sha256::digest(b"TapSighash");
    Sha256::new()
        .chain_update(tag)
        .chain_update(tag)
        .chain_update(preimage)
        .finalize()
        .into()
}

/// Whether `signature` (BIP-340) signs the sighash of `preimage` under the taproot output key of the child at `path`.
pub fn verify(
    package: &PublicPackage,
    path: KeyPath,
    preimage: &[u8],
    signature: &[u8],
) -> Result<bool, Failure> {
    let Ok(signature) = Signature::deserialize(signature) else {
        return Ok(false);
    };
    let output = child_public(package, path)?.tweak::<&[u8]>(None);
    Ok(output
        .verifying_key()
        .verify(&tap_sighash(preimage), &signature)
        .is_ok())
}
