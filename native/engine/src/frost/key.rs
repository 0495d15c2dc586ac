//! A FROST key at rest, and its children.

use std::collections::BTreeMap;

use cggmp24::generic_ec::{Point, Scalar};
use cggmp24::supported_curves::Secp256k1;
use frost_secp256k1_tr::keys::{KeyPackage, PublicKeyPackage, SigningShare, Tweak, VerifyingShare};
use frost_secp256k1_tr::{Identifier, Signature, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::child::{Branches, KeyPath};
use crate::codec;
use crate::context::KeyRef;
use crate::failure::{Code, Failure};
use crate::frost::identifier;
use crate::public_package::{Protocol, PublicPackage, is_compressed, position, write_point};
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

/// An opened share with the public package it belongs to, read as far as signing needs it.
pub struct Share {
    pub package: PublicPackage,
    pub package_bytes: Vec<u8>,
    me: u16,
    secret: Zeroizing<Vec<u8>>,
    root: VerifyingKey,
    branches: Branches,
    public_shares: BTreeMap<Identifier, VerifyingShare>,
}

/// The keys that sign at one path: derived, then tweaked as BIP-341 has it for an output without scripts.
pub struct Child {
    pub own: KeyPackage,
    pub public: PublicKeyPackage,
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
    let secret = Zeroizing::new(stored.secret.0.to_vec());
    let public = write_point(&(Point::generator() * scalar(&secret)?))?;
    let at = usize::from(position(&package.parties, me)?);
    if package.public_shares.get(at) != Some(&public) {
        return Err(damaged());
    }
    let root = package.key()?.into_inner();
    let public_shares = package
        .parties
        .iter()
        .zip(&package.public_shares)
        .map(|(&node, share)| {
            let share = is_compressed(share.as_slice())
                .then(|| VerifyingShare::deserialize(share.as_slice()).ok())
                .flatten()
                .ok_or_else(damaged)?;
            Ok((identifier(node)?, share))
        })
        .collect::<Result<_, Failure>>()?;
    Ok(Share {
        me,
        root: read_key(&package.public_key)?,
        branches: Branches::of(root, package.chain_code.into_array())?,
        public_shares,
        package_bytes: stored.package.to_vec(),
        secret,
        package,
    })
}

fn scalar(secret: &[u8]) -> Result<Scalar<Secp256k1>, Failure> {
    Scalar::from_be_bytes(secret).map_err(|_| Failure::internal("a signing share is not a scalar"))
}

impl Share {
    /// The share of the group key itself; nonces are hedged with it.
    pub fn signing_share(&self) -> Result<SigningShare, Failure> {
        SigningShare::deserialize(&self.secret)
            .map_err(|_| Failure::internal("a signing share is not a scalar"))
    }

    /// The keys at `path`. One derivation and one tweak of public keys serve this node's own key too: with P = R + δG the child of the
    /// root R and t its tweak, the secret is ±(x + δ) + t, negated where P has an odd y.
    pub fn child(&self, path: KeyPath) -> Result<Child, Failure> {
        let derived = self.branches.child(path)?;
        let written = write_point(&derived.child)?;
        let key = read_key(&written)?;
        let shift = key.to_element() - self.root.to_element();
        let shares = self
            .public_shares
            .iter()
            .map(|(&id, share)| (id, VerifyingShare::new(share.to_element() + shift)))
            .collect();
        let threshold = self.package.threshold;
        let public = PublicKeyPackage::new(shares, key, Some(threshold)).tweak::<&[u8]>(None);

        let untweaked = Zeroizing::new(scalar(&self.secret)? + derived.shift);
        let signed = Zeroizing::new(if written[0] == 3 { -*untweaked } else { *untweaked });
        let secret = Zeroizing::new(*signed + tap_tweak(&written[1..]));
        let bytes = Zeroizing::new(secret.to_be_bytes().as_bytes().to_vec());
        let secret = SigningShare::deserialize(&bytes)
            .map_err(|_| Failure::internal("a child share is not a scalar"))?;
        let id = identifier(self.me)?;
        let own = *public
            .verifying_shares()
            .get(&id)
            .ok_or_else(|| Failure::internal("the own public share is missing"))?;
        Ok(Child {
            own: KeyPackage::new(id, secret, own, *public.verifying_key(), threshold),
            public,
        })
    }
}

fn read_key(written: &ByteArray<33>) -> Result<VerifyingKey, Failure> {
    VerifyingKey::deserialize(written.as_slice()).map_err(|_| Failure::internal("a key is not a point"))
}

/// BIP-341's tweak of the key with this x, for an output without scripts.
fn tap_tweak(x: &[u8]) -> Scalar<Secp256k1> {
    Scalar::from_be_bytes_mod_order(tagged("TapTweak", x))
}

/// BIP-340's tagged hash.
fn tagged(tag: &str, message: &[u8]) -> [u8; 32] {
    let tag = Sha256::digest(tag);
    Sha256::new()
        .chain_update(tag)
        .chain_update(tag)
        .chain_update(message)
        .finalize()
        .into()
}

/// BIP-341's sighash of `preimage` = 0x00 ‖ SigMsg, hashed here: nobody can ask for a bare hash.
pub fn tap_sighash(preimage: &[u8]) -> [u8; 32] {
    tagged("TapSighash", preimage)
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
    let key = read_key(&write_point(&package.child(path)?.child)?)?;
    // Nobody's share is needed for the key's own tweak.
    let output = PublicKeyPackage::new(BTreeMap::new(), key, None).tweak::<&[u8]>(None);
    Ok(output
        .verifying_key()
        .verify(&tap_sighash(preimage), &signature)
        .is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::LEVEL;
    use frost_secp256k1_tr::keys::{IdentifierList, generate_with_dealer};
    use rand_core::OsRng;

    /// Party 2 of three, whose keys a dealer made.
    fn share() -> (Share, KeyPackage) {
        let (shares, public) = generate_with_dealer(3, 2, IdentifierList::Default, OsRng).unwrap();
        let own = KeyPackage::try_from(shares[&identifier(2).unwrap()].clone()).unwrap();
        let written = |bytes: Vec<u8>| ByteArray::new(<[u8; 33]>::try_from(bytes).unwrap());
        let package = PublicPackage {
            v: crate::public_package::VERSION,
            epoch: 0,
            key_id: ByteArray::new([1; 32]),
            level: LEVEL.name().into(),
            aux_hash: None,
            parties: vec![1, 2, 3],
            protocol: Protocol::Frost,
            chain_code: ByteArray::new([6; 32]),
            public_key: written(public.verifying_key().serialize().unwrap()),
            threshold: 2,
            public_shares: public
                .verifying_shares()
                .values()
                .map(|share| written(share.serialize().unwrap()))
                .collect(),
        };
        let vault = Vault::new(&Zeroizing::new([1; 32]), [2; 32], 2);
        let key_ref = KeyRef {
            key_id: [1; 32],
            epoch: 0,
        };
        let sealed = seal_share(&vault, key_ref, &package.write().unwrap(), own.signing_share()).unwrap();
        (open_share(&vault, key_ref, 2, &sealed).unwrap(), own)
    }

    #[test]
    fn a_child_is_what_the_crate_tweaks() {
        let (share, own) = share();
        let mut parities = std::collections::BTreeSet::new();
        for index in 0..16 {
            let path = KeyPath(index % 2, index);
            let derived = share.package.child(path).unwrap();
            let written = write_point(&derived.child).unwrap();
            parities.insert(written[0]);
            let secret = SigningShare::deserialize(
                (scalar(&own.signing_share().serialize()).unwrap() + derived.shift)
                    .to_be_bytes()
                    .as_bytes(),
            )
            .unwrap();
            let crates = KeyPackage::new(
                *own.identifier(),
                secret,
                VerifyingShare::from(secret),
                read_key(&written).unwrap(),
                2,
            )
            .tweak::<&[u8]>(None);
            let child = share.child(path).unwrap();
            assert_eq!(child.own, crates);
            assert_eq!(child.public.verifying_key(), crates.verifying_key());
            assert_eq!(
                child.public.verifying_shares().get(own.identifier()),
                Some(crates.verifying_share())
            );
        }
        assert_eq!(parities.len(), 2, "keys of both parities were tried");
    }
}
