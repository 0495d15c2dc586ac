//! Why an operation ended: a code for programs, the round, the nodes to blame, and a sentence for people.

use std::fmt;

/// Codes that cross to JavaScript; the TypeScript side maps them to Cairn's error codes by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Malformed,
    InvalidRoundMessage,
    Equivocation,
    InvalidSignature,
    InvalidPartial,
    PresignatureUsed,
    PresignatureMismatch,
    SealedBlobInvalid,
    VaultLocked,
    FileMode,
    FileMissing,
    FileExists,
    NoPrimes,
    Busy,
    Closed,
    Internal,
}

impl Code {
    pub const fn name(self) -> &'static str {
        match self {
            Code::Malformed => "malformed",
            Code::InvalidRoundMessage => "invalid-round-message",
            Code::Equivocation => "equivocation",
            Code::InvalidSignature => "invalid-signature",
            Code::InvalidPartial => "invalid-partial",
            Code::PresignatureUsed => "presignature-used",
            Code::PresignatureMismatch => "presignature-mismatch",
            Code::SealedBlobInvalid => "sealed-blob-invalid",
            Code::VaultLocked => "vault-locked",
            Code::FileMode => "file-mode",
            Code::FileMissing => "file-missing",
            Code::FileExists => "file-exists",
            Code::NoPrimes => "no-primes",
            Code::Busy => "busy",
            Code::Closed => "closed",
            Code::Internal => "internal",
        }
    }
}

/// The one error type of the crate. It never holds secrets or bytes of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: Code,
    /// Round of the protocol, counted from 1; 0 where no round applies.
    pub round: u8,
    /// Node indices whose messages failed a check; empty where the protocol names nobody.
    pub blamed: Vec<u16>,
    pub message: String,
}

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            round: 0,
            blamed: Vec::new(),
            message: message.into(),
        }
    }

    #[must_use]
    pub fn at_round(mut self, round: u8) -> Self {
        self.round = round;
        self
    }

    #[must_use]
    pub fn blaming(mut self, blamed: impl IntoIterator<Item = u16>) -> Self {
        self.blamed = blamed.into_iter().collect();
        self.blamed.sort_unstable();
        self.blamed.dedup();
        self
    }

    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(Code::Malformed, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// A message of `from` broke the protocol in `round`.
    pub fn bad_message(from: u16, round: u8, message: impl Into<String>) -> Self {
        Self::new(Code::InvalidRoundMessage, message)
            .at_round(round)
            .blaming([from])
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Failure {}

impl From<crate::codec::NotCanonical> for Failure {
    fn from(_: crate::codec::NotCanonical) -> Self {
        Failure::internal("a value of this engine's own could not be encoded")
    }
}
