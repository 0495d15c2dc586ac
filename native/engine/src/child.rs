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
    Branch::root(parent, chain_code).step(path.0)?.leaf(path.1)
}

/// The two branches of a key, to change 0 and 1: derived once where many children are needed.
pub struct Branches([Branch; 2]);

impl Branches {
    /// # Errors
    /// None that anybody can bring about.
    pub fn of(parent: Point<Secp256k1>, chain_code: [u8; 32]) -> Result<Self, Failure> {
        let root = Branch::root(parent, chain_code);
        Ok(Self([root.step(0)?, root.step(1)?]))
    }

    /// What [`child_shift`] gives for the same key.
    ///
    /// # Errors
    /// Those of [`child_shift`].
    pub fn child(&self, path: KeyPath) -> Result<ChildShift, Failure> {
        self.0
            .get(path.0 as usize)
            .ok_or_else(|| Failure::malformed("a key path begins with 0 or 1"))?
            .leaf(path.1)
    }
}

/// A key on the way from the root, and the shift that leads to it.
struct Branch {
    shift: Scalar<Secp256k1>,
    key: ExtendedPublicKey<Secp256k1>,
}

impl Branch {
    fn root(public_key: Point<Secp256k1>, chain_code: [u8; 32]) -> Self {
        Self {
            shift: Scalar::zero(),
            key: ExtendedPublicKey {
                public_key,
                chain_code,
            },
        }
    }

    fn step(&self, step: u32) -> Result<Self, Failure> {
        let index = NonHardenedIndex::try_from(step)
            .map_err(|_| Failure::malformed("a key path step is hardened"))?;
        let derived = hd_wallet::Slip10::derive_public_shift(&self.key, index);
        Ok(Self {
            shift: self.shift + derived.shift,
            key: derived.child_public_key,
        })
    }

    fn leaf(&self, index: u32) -> Result<ChildShift, Failure> {
        let Self { shift, key } = self.step(index)?;
        let child = NonZero::from_point(key.public_key)
            .ok_or_else(|| Failure::internal("the child key is the point at infinity"))?;
        Ok(ChildShift { shift, child })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_lead_to_the_same_children() {
        let parent = Point::generator() * Scalar::from(12345_u64);
        let branches = Branches::of(parent, [7; 32]).unwrap();
        for path in [KeyPath(0, 0), KeyPath(0, 7), KeyPath(1, 0), KeyPath(1, 99)] {
            let (one, other) = (
                branches.child(path).unwrap(),
                child_shift(parent, [7; 32], path).unwrap(),
            );
            assert_eq!((one.shift, one.child), (other.shift, other.child));
            assert_eq!(one.child.into_inner(), parent + Point::generator() * one.shift);
        }
        assert!(branches.child(KeyPath(2, 0)).is_err());
    }
}
