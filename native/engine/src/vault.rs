//! The vault: every secret leaves this process's memory only sealed under a key that JavaScript never sees.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

use crate::context::KeyRef;
use crate::failure::{Code, Failure};
use crate::level::LEVEL;

const VERSION: u8 = 1;
const NONCE: usize = 24;
/// Version (1) ‖ level (1) ‖ kind (1) ‖ nonce (24), then ciphertext and tag.
const HEADER: usize = 3 + NONCE;

/// For blobs that have no id of their own.
pub const NO_ID: [u8; 32] = [0; 32];

/// A key-encryption key. Wiped when dropped.
pub type KeyEncryptionKey = Zeroizing<[u8; 32]>;

/// What a sealed blob holds; part of the associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BlobKind {
    Check = 1,
    Prime = 2,
    EcdsaAux = 3,
    EcdsaShare = 4,
    EcdsaPresignature = 5,
    FrostShare = 6,
    /// Secrets of the node itself, such as its identity key: the only kind that JavaScript can open.
    NodeSecret = 7,
}

/// Seals and opens blobs of one node of one cluster.
pub struct Vault {
    cluster: [u8; 32],
    node: u16,
    cipher: XChaCha20Poly1305,
}

impl Vault {
    pub fn new(key: &KeyEncryptionKey, cluster: [u8; 32], node: u16) -> Self {
        Self {
            cluster,
            node,
            cipher: XChaCha20Poly1305::new((&**key).into()),
        }
    }

    /// Every field has a fixed length, so no two contexts share associated data.
    fn associated_data(&self, kind: BlobKind, key: KeyRef, id: &[u8; 32]) -> Vec<u8> {
        let mut data = b"cairn/vault/v1".to_vec();
        data.extend_from_slice(&[VERSION, LEVEL as u8, kind as u8]);
        data.extend_from_slice(&self.cluster);
        data.extend_from_slice(&self.node.to_be_bytes());
        data.extend_from_slice(&key.key_id);
        data.extend_from_slice(&key.epoch.to_be_bytes());
        data.extend_from_slice(id);
        data
    }

    /// Seals `plain` with XChaCha20-Poly1305 under a fresh random nonce.
    pub fn seal(&self, kind: BlobKind, key: KeyRef, id: &[u8; 32], plain: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut nonce = [0; NONCE];
        OsRng.fill_bytes(&mut nonce);
        let aad = self.associated_data(kind, key, id);
        let sealed = self
            .cipher
            .encrypt(
                XNonce::from_slice(&nonce),
                Payload {
                    msg: plain,
                    aad: &aad,
                },
            )
            .map_err(|_| Failure::internal("sealing failed"))?;
        let mut blob = Vec::with_capacity(HEADER + sealed.len());
        blob.extend_from_slice(&[VERSION, LEVEL as u8, kind as u8]);
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(&sealed);
        Ok(blob)
    }

    /// Opens a blob that was sealed for the same cluster, node, key, epoch, kind, level and id.
    ///
    /// # Errors
    /// `sealed-blob-invalid` for any other blob.
    pub fn open(
        &self,
        kind: BlobKind,
        key: KeyRef,
        id: &[u8; 32],
        blob: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let refuse = |why: &str| Failure::new(Code::SealedBlobInvalid, why);
        if blob.len() < HEADER || blob[0] != VERSION {
            return Err(refuse("the sealed blob is too short or of an unknown version"));
        }
        if blob[1] != LEVEL as u8 {
            return Err(refuse(
                "the sealed blob is of another security level; reduced-level secrets are for tests only",
            ));
        }
        if blob[2] != kind as u8 {
            return Err(refuse(
                "the sealed blob holds something else than what is asked for",
            ));
        }
        let (header, sealed) = blob.split_at(HEADER);
        let aad = self.associated_data(kind, key, id);
        self.cipher
            .decrypt(XNonce::from_slice(&header[3..]), Payload { msg: sealed, aad: &aad })
            .map(Zeroizing::new)
            .map_err(|_| {
                refuse(
                    "the sealed blob does not open: it is damaged, or of another cluster, node, key, epoch or id, or the vault's key is another",
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: KeyRef = KeyRef {
        key_id: [3; 32],
        epoch: 7,
    };

    fn vault() -> Vault {
        Vault::new(&Zeroizing::new([1; 32]), [2; 32], 4)
    }

    #[test]
    fn what_is_sealed_opens_in_its_own_place_only() {
        let blob = vault()
            .seal(BlobKind::FrostShare, KEY, &NO_ID, b"secret")
            .unwrap();
        let open = |vault: &Vault, kind, key, id: &[u8; 32]| vault.open(kind, key, id, &blob);
        assert_eq!(
            open(&vault(), BlobKind::FrostShare, KEY, &NO_ID)
                .unwrap()
                .as_slice(),
            b"secret"
        );
        let refused = [
            open(&vault(), BlobKind::EcdsaShare, KEY, &NO_ID),
            open(&vault(), BlobKind::FrostShare, KeyRef { epoch: 8, ..KEY }, &NO_ID),
            open(
                &vault(),
                BlobKind::FrostShare,
                KeyRef {
                    key_id: [4; 32],
                    ..KEY
                },
                &NO_ID,
            ),
            open(&vault(), BlobKind::FrostShare, KEY, &[1; 32]),
            open(
                &Vault::new(&Zeroizing::new([1; 32]), [2; 32], 5),
                BlobKind::FrostShare,
                KEY,
                &NO_ID,
            ),
            open(
                &Vault::new(&Zeroizing::new([1; 32]), [9; 32], 4),
                BlobKind::FrostShare,
                KEY,
                &NO_ID,
            ),
            open(
                &Vault::new(&Zeroizing::new([8; 32]), [2; 32], 4),
                BlobKind::FrostShare,
                KEY,
                &NO_ID,
            ),
        ];
        for result in refused {
            assert_eq!(result.unwrap_err().code, Code::SealedBlobInvalid);
        }
    }

    #[test]
    fn every_altered_byte_is_noticed() {
        let blob = vault().seal(BlobKind::Prime, KEY, &[5; 32], b"secret").unwrap();
        for at in 0..blob.len() {
            let mut altered = blob.clone();
            altered[at] ^= 0x40;
            assert!(
                vault().open(BlobKind::Prime, KEY, &[5; 32], &altered).is_err(),
                "byte {at}"
            );
            assert!(vault().open(BlobKind::Prime, KEY, &[5; 32], &blob[..at]).is_err());
        }
    }

    #[test]
    fn a_kind_byte_cannot_be_swapped_for_another() {
        let mut blob = vault()
            .seal(BlobKind::EcdsaShare, KEY, &NO_ID, b"secret")
            .unwrap();
        blob[2] = BlobKind::FrostShare as u8;
        assert!(vault().open(BlobKind::FrostShare, KEY, &NO_ID, &blob).is_err());
        blob[1] ^= 1;
        assert!(vault().open(BlobKind::EcdsaShare, KEY, &NO_ID, &blob).is_err());
    }
}
