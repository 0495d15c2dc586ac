//! Safe primes for Paillier and ring-Pedersen moduli: found ahead of time, sealed as they are found, used once.

pub mod pool;
pub mod sieve;

use cggmp24::backend::Integer;
use zeroize::Zeroizing;

use crate::context::KeyRef;
use crate::failure::{Code, Failure};
use crate::level::PRIME_BITS;
use crate::vault::{BlobKind, Vault};

/// Seals a prime under its id.
pub fn seal(vault: &Vault, id: &[u8; 32], prime: &Integer) -> Result<Vec<u8>, Failure> {
    vault.seal(
        BlobKind::Prime,
        KeyRef::NONE,
        id,
        &Zeroizing::new(prime.to_bytes_msf()),
    )
}

/// Opens four distinct primes.
///
/// # Errors
/// `no-primes` unless exactly four different ids are given; `sealed-blob-invalid`.
pub fn open_four(vault: &Vault, sealed: &[([u8; 32], Vec<u8>)]) -> Result<[Integer; 4], Failure> {
    let too_few = || {
        Failure::new(
            Code::NoPrimes,
            "a node needs four different safe primes; wait until enough are generated",
        )
    };
    let mut primes = Vec::with_capacity(4);
    for (id, blob) in sealed {
        let bytes = vault.open(BlobKind::Prime, KeyRef::NONE, id, blob)?;
        let prime = Integer::from_bytes_msf(&bytes);
        if prime.significant_bits() != u64::from(PRIME_BITS) {
            return Err(Failure::new(
                Code::SealedBlobInvalid,
                "a sealed prime has the wrong length for this security level",
            ));
        }
        if primes.contains(&prime) {
            return Err(too_few());
        }
        primes.push(prime);
    }
    <[Integer; 4]>::try_from(primes).map_err(|_| too_few())
}
