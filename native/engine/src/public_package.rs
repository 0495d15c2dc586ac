//! What everybody may know of a key, in one canonical encoding: byte-identical at every honest party.

use cggmp24::generic_ec::{NonZero, Point};
use cggmp24::supported_curves::Secp256k1;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::child::{ChildShift, KeyPath, child_shift};
use crate::codec;
use crate::failure::Failure;
use crate::level::LEVEL;

pub const VERSION: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    #[serde(rename = "cggmp24")]
    Cggmp24,
    #[serde(rename = "frost")]
    Frost,
}

impl Protocol {
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Cggmp24 => "cggmp24",
            Protocol::Frost => "frost",
        }
    }
}

/// Fields stand in DAG-CBOR order (shorter keys first), so that the bytes are DAG-CBOR too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublicPackage {
    pub v: u8,
    pub epoch: u64,
    pub key_id: ByteArray<32>,
    pub level: String,
    /// SHA-256 of all parties' Paillier and ring-Pedersen parameters; none for FROST.
    pub aux_hash: Option<ByteArray<32>>,
    /// Node indices, ascending.
    pub parties: Vec<u16>,
    pub protocol: Protocol,
    pub chain_code: ByteArray<32>,
    /// Compressed group key. For FROST the key to which BIP-341 adds the tweak.
    pub public_key: ByteArray<33>,
    pub threshold: u16,
    /// Compressed public shares in the order of `parties`.
    pub public_shares: Vec<ByteArray<33>>,
}

impl PublicPackage {
    /// Reads a package and checks what can be checked without secrets.
    ///
    /// # Errors
    /// `malformed` for any deviation, also for the other security level.
    pub fn read(bytes: &[u8]) -> Result<Self, Failure> {
        let package: Self = codec::decode(bytes)
            .map_err(|_| Failure::malformed("the public package is not in its canonical form"))?;
        if package.v != VERSION {
            return Err(Failure::malformed("the public package has an unknown version"));
        }
        if package.level != LEVEL.name() {
            return Err(Failure::malformed(format!(
                "the public package is of level {}, this engine of level {}",
                if package.level == "full" {
                    "full"
                } else {
                    "reduced"
                },
                LEVEL.name(),
            )));
        }
        check_parties(&package.parties)?;
        check_threshold(package.threshold, package.parties.len())?;
        if package.public_shares.len() != package.parties.len()
            || package.aux_hash.is_some() != (package.protocol == Protocol::Cggmp24)
        {
            return Err(Failure::malformed("the public package contradicts itself"));
        }
        package.key()?;
        Ok(package)
    }

    pub fn write(&self) -> Result<Vec<u8>, Failure> {
        Ok(codec::encode(self)?)
    }

    pub fn key(&self) -> Result<NonZero<Point<Secp256k1>>, Failure> {
        read_point(self.public_key.as_slice())
    }

    /// The key at `path` and the shift that leads to it.
    pub fn child(&self, path: KeyPath) -> Result<ChildShift, Failure> {
        child_shift(self.key()?.into_inner(), self.chain_code.into_array(), path)
    }

    /// Position of `node` among the parties: the index that CGGMP24 calls it by.
    pub fn position(&self, node: u16) -> Result<u16, Failure> {
        position(&self.parties, node)
    }
}

/// Position of `node` in `parties`.
pub fn position(parties: &[u16], node: u16) -> Result<u16, Failure> {
    parties
        .iter()
        .position(|&party| party == node)
        .and_then(|at| u16::try_from(at).ok())
        .ok_or_else(|| Failure::malformed(format!("node {node} is not among the parties")))
}

/// Node indices are 1..=255, ascending, without repetition, and at least two.
pub fn check_parties(parties: &[u16]) -> Result<(), Failure> {
    let ascending = parties.windows(2).all(|pair| pair[0] < pair[1]);
    let in_range = parties.iter().all(|&party| (1..=255).contains(&party));
    if parties.len() < 2 || !ascending || !in_range {
        return Err(Failure::malformed(
            "parties must be at least two node indices from 1 to 255, ascending and distinct",
        ));
    }
    Ok(())
}

/// 2 ≤ t ≤ n.
pub fn check_threshold(threshold: u16, parties: usize) -> Result<(), Failure> {
    if threshold < 2 || usize::from(threshold) > parties {
        return Err(Failure::malformed(
            "the threshold must be from 2 to the number of parties",
        ));
    }
    Ok(())
}

/// Whether `bytes` have the one form in which a point is sent and stored: 0x02 or 0x03, then x. The curve's library also reads 0x05 (SEC 1's
/// "compact" form) as a point. That x is below the field's prime it checks itself.
pub fn is_compressed(bytes: &[u8]) -> bool {
    bytes.len() == 33 && matches!(bytes.first(), Some(2 | 3))
}

/// A compressed point other than the identity.
pub fn read_point(bytes: &[u8]) -> Result<NonZero<Point<Secp256k1>>, Failure> {
    if !is_compressed(bytes) {
        return Err(Failure::malformed(
            "a compressed point is 33 bytes of which the first is 2 or 3",
        ));
    }
    Point::from_bytes(bytes)
        .ok()
        .and_then(NonZero::from_point)
        .ok_or_else(|| Failure::malformed("33 bytes are not a point of secp256k1"))
}

/// The compressed encoding of `point`.
pub fn write_point(point: &Point<Secp256k1>) -> Result<ByteArray<33>, Failure> {
    <[u8; 33]>::try_from(point.to_bytes(true).as_bytes())
        .map(ByteArray::new)
        .map_err(|_| Failure::internal("the point at infinity has no compressed encoding"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_has_one_encoding() {
        let good = write_point(&Point::generator().to_point()).unwrap();
        assert!(read_point(good.as_slice()).is_ok());
        for tag in [0, 1, 4, 5, 6] {
            let mut other = good;
            other[0] = tag;
            assert!(read_point(other.as_slice()).is_err(), "tag {tag}");
        }
        // The field's prime, and one above it, stand for x = 0 and x = 1.
        let mut prime = [0xff; 33];
        prime[0] = 2;
        prime[28] = 0xfe;
        prime[29..].copy_from_slice(&[0xff, 0xff, 0xfc, 0x2f]);
        assert!(read_point(&prime).is_err());
        prime[32] = 0x30;
        assert!(read_point(&prime).is_err());
        assert!(read_point(&[0; 33]).is_err());
        assert!(read_point(&good[..32]).is_err());
    }
}
