//! The security level this binary was built for. There is no switch: another level is another binary.

/// Tag of the level inside sealed blobs, public packages and prime files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// CGGMP24's 128-bit level: 3072-bit moduli.
    Full = 0,
    /// Far too small for anything but tests; only the five parameters' relations hold, so that every proof passes.
    Reduced = 1,
}

impl Level {
    /// The name that JavaScript and public packages use.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Full => "full",
            Level::Reduced => "reduced",
        }
    }
}

#[cfg(not(feature = "reduced"))]
mod chosen {
    pub type Security = cggmp24::security_level::SecurityLevel128;
    pub const LEVEL: super::Level = super::Level::Full;
}

#[cfg(feature = "reduced")]
mod chosen {
    /// N needs at least 4·ell bits (Π_fac); epsilon at least 256 bits and slack (Π_aff's range).
    #[derive(Clone)]
    pub struct Security;
    cggmp24::define_security_level!(Security {
        kappa_bits: 256,
        rsa_prime_bitlen: 640,
        rsa_pubkey_bitlen: 1279,
        epsilon: 384,
        ell: 256,
        ell_prime: 640,
        m: 128,
    });
    pub const LEVEL: super::Level = super::Level::Reduced;
}

pub use chosen::{LEVEL, Security};

/// Bits of each safe prime: four of them make one node's Paillier and ring-Pedersen moduli.
pub const PRIME_BITS: u32 = <Security as cggmp24::security_level::SecurityLevel>::RSA_PRIME_BITLEN;
