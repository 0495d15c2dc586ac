//! The hash of everything that all parties of a session must agree on before the first message.

use sha2::{Digest, Sha256};

use crate::child::KeyPath;
use crate::frame::Kind;
use crate::level::LEVEL;

/// Collects length-prefixed fields under a domain tag, so that no two lists of fields hash alike.
pub struct Transcript(Sha256);

impl Transcript {
    pub fn new(tag: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update((tag.len() as u64).to_be_bytes());
        hash.update(tag.as_bytes());
        Self(hash)
    }

    #[must_use]
    pub fn field(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    #[must_use]
    pub fn number(self, value: u64) -> Self {
        self.field(&value.to_be_bytes())
    }

    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Key and epoch that a session works on; zeros for auxiliary information, which belongs to no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef {
    pub key_id: [u8; 32],
    pub epoch: u64,
}

impl KeyRef {
    pub const NONE: Self = Self {
        key_id: [0; 32],
        epoch: 0,
    };
}

/// One thing made in a session: its path, its own id where it has one, and what is signed.
pub struct ItemRef<'a> {
    pub path: KeyPath,
    pub id: &'a [u8],
    pub preimage: &'a [u8],
}

/// Parties whose arguments differ get different contexts.
pub fn context<'a>(
    kind: Kind,
    execution_id: &[u8; 32],
    key: KeyRef,
    parties: &[u16],
    threshold: u16,
    items: impl IntoIterator<Item = ItemRef<'a>>,
) -> [u8; 32] {
    let mut transcript = Transcript::new("cairn/engine/context/v1")
        .number(LEVEL as u64)
        .number(kind as u64)
        .field(execution_id)
        .field(&key.key_id)
        .number(key.epoch)
        .number(threshold.into())
        .number(parties.len() as u64);
    for &party in parties {
        transcript = transcript.number(party.into());
    }
    for item in items {
        transcript = transcript
            .number(item.path.0.into())
            .number(item.path.1.into())
            .field(item.id)
            .field(item.preimage);
    }
    transcript.finish()
}
