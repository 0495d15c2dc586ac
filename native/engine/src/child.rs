//! Unhardened BIP-32 children: one additive shift of the group key, the same at every signer.

use cggmp24::generic_ec::{NonZero, Point, Scalar};
use cggmp24::hd_wallet::{self, DeriveShift, ExtendedPublicKey, NonHardenedIndex};
use cggmp24::supported_curves::Secp256k1;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// `change` 0 or 1, then the address index; both unhardened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyPath(pub u32, pub u32);

impl KeyPath {
    /// # Errors
    /// `malformed` for a change step other than 0 and 1, or a hardened index.
    pub fn new(change: u32, index: u32) -> Result<Self, Failure> {
        if change > 1 || index >= hd_wallet::H {
            return Err(Failure::malformed(
                "a key path is change (0 or 1), then an index below 2^31",
            ));
        }
        Ok(Self(change, index))
    }

    pub fn steps(self) -> [u32; 2] {
        [self.0, self.1]
    }
}

/// The sum δ of both derivation steps and the child key P + δG (BIP-32, CKDpub).
pub struct ChildShift {
    pub shift: Scalar<Secp256k1>,
    pub child: NonZero<Point<Secp256k1>>,
}

/// Derives the child of (`parent`, `chain_code`) at `path`.
///
/// # Errors
/// `internal` if the child is the point at infinity, which nobody can bring about.
pub fn child_shift(
    parent: Point<Secp256k1>,
    chain_code: [u8; 32],
    path: KeyPath,
) -> Result<ChildShift, Failure> {
    let mut key = ExtendedPublicKey {
        public_key: parent,
        chain_code,
    };
    let mut shift = Scalar::zero();
    for step in path.steps() {
        let index = NonHardenedIndex::try_from(step)
            .map_err(|_| Failure::malformed("a key path step is hardened"))?;
        let derived = hd_wallet::Slip10::derive_public_shift(&key, index);
        shift += derived.shift;
        key = derived.child_public_key;
    }
    let child = NonZero::from_point(key.public_key)
        .ok_or_else(|| Failure::internal("the child key is the point at infinity"))?;
    Ok(ChildShift { shift, child })
}
