//! A node's backup: one age file (<https://age-encryption.org/v1>) that holds its secrets opened and everything else as JavaScript
//! wrote it. Shares go from the vault into the file, and from the file into another vault, without leaving this module.

use std::io::{Read, Write};

use age::secrecy::{ExposeSecret, SecretString};
use age::{DecryptError, Decryptor, Encryptor};
use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::codec;
use crate::context::KeyRef;
use crate::ecdsa;
use crate::failure::{Code, Failure};
use crate::frost;
use crate::level::LEVEL;
use crate::public_package::{Protocol, PublicPackage};
use crate::vault::{BlobKind, NO_ID, Vault};

const VERSION: u8 = 1;
/// A node's backup has some hundred kilobytes a key.
pub const MAX_FILE: usize = 64 * 1024 * 1024;
/// Work factor of a passphrase's scrypt: N = 2^18 with r = 8 takes 256 MiB and about a second.
const WORK_FACTOR: u8 = 18;
/// A file may not ask for more: whoever made it could take all memory.
const MAX_WORK_FACTOR: u8 = WORK_FACTOR;

/// Bytes that are wiped.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Secret(#[serde(with = "serde_bytes")] Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    v: u8,
    level: String,
    cluster: ByteArray<32>,
    node: u16,
    document: ByteBuf,
    files: Vec<HeldFile>,
    sealed: Vec<Held>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldFile {
    name: String,
    content: Secret,
}

/// What was in a sealed blob, and where it belongs.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    kind: u8,
    /// The key's id; for auxiliary information the id of its set of parties.
    id: ByteArray<32>,
    epoch: u64,
    plain: Secret,
}

/// A sealed blob and where it belongs: the key's id and epoch; for auxiliary information the id of its set of parties and 0.
pub struct Item {
    pub kind: BlobKind,
    pub id: [u8; 32],
    pub epoch: u64,
    pub sealed: Vec<u8>,
}

/// A file of the node's folder.
pub struct PlainFile {
    pub name: String,
    pub content: Zeroizing<Vec<u8>>,
}

/// What a backup is made of.
pub struct Content {
    pub document: Vec<u8>,
    pub files: Vec<PlainFile>,
    pub items: Vec<Item>,
}

/// Who can open a backup.
pub enum Lock {
    /// age recipients, `age1…`.
    Recipients(Vec<String>),
    Passphrase(Zeroizing<Vec<u8>>),
}

/// Which kinds a backup may hold. Presignatures and primes are none of them.
pub fn kind(name: &str) -> Result<BlobKind, Failure> {
    match name {
        "cggmp24-aux" => Ok(BlobKind::EcdsaAux),
        "cggmp24-share" => Ok(BlobKind::EcdsaShare),
        "frost-share" => Ok(BlobKind::FrostShare),
        _ => Err(Failure::malformed(
            "a backup holds shares and auxiliary information only",
        )),
    }
}

fn kind_of(number: u8) -> Result<BlobKind, Failure> {
    [BlobKind::EcdsaAux, BlobKind::EcdsaShare, BlobKind::FrostShare]
        .into_iter()
        .find(|kind| *kind as u8 == number)
        .ok_or_else(damaged)
}

/// The name of a kind that a backup may hold.
pub fn kind_name(kind: BlobKind) -> &'static str {
    match kind {
        BlobKind::EcdsaAux => "cggmp24-aux",
        BlobKind::EcdsaShare => "cggmp24-share",
        _ => "frost-share",
    }
}

/// Auxiliary information belongs to no key.
fn place(kind: BlobKind, id: [u8; 32], epoch: u64) -> KeyRef {
    match kind {
        BlobKind::EcdsaAux => KeyRef::NONE,
        _ => KeyRef { key_id: id, epoch },
    }
}

/// Opens what the vault has sealed and encrypts it with everything else.
///
/// # Errors
/// `sealed-blob-invalid`, `malformed` for recipients that are none.
pub fn create(
    vault: &Vault,
    cluster: [u8; 32],
    node: u16,
    content: Content,
    lock: Lock,
) -> Result<Vec<u8>, Failure> {
    let sealed = content
        .items
        .iter()
        .map(|item| {
            let place = place(item.kind, item.id, item.epoch);
            let mut plain = vault.open(item.kind, place, &NO_ID, &item.sealed)?;
            Ok(Held {
                kind: item.kind as u8,
                id: ByteArray::new(item.id),
                epoch: item.epoch,
                plain: Secret(std::mem::take(&mut *plain)),
            })
        })
        .collect::<Result<_, Failure>>()?;
    let files = content
        .files
        .into_iter()
        .map(|mut file| HeldFile {
            name: file.name,
            content: Secret(std::mem::take(&mut *file.content)),
        })
        .collect();
    let payload = codec::encode_secret(&Payload {
        v: VERSION,
        level: LEVEL.name().into(),
        cluster: ByteArray::new(cluster),
        node,
        document: ByteBuf::from(content.document),
        files,
        sealed,
    })?;
    encrypt(&payload, lock)
}

fn encrypt(payload: &[u8], lock: Lock) -> Result<Vec<u8>, Failure> {
    let failed = |_| Failure::internal("encrypting the backup failed");
    let mut out = Vec::new();
    let encryptor = match lock {
        Lock::Recipients(names) => {
            let recipients = names
                .iter()
                .map(|name| name.parse::<age::x25519::Recipient>())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| {
                    Failure::malformed(
                        "a recipient is not an age recipient: it begins with age1, as `cairn backup keygen` or `age-keygen` prints it",
                    )
                })?;
            Encryptor::with_recipients(recipients.iter().map(|one| one as &dyn age::Recipient))
                .map_err(|_| Failure::malformed("a backup needs at least one recipient"))?
        }
        Lock::Passphrase(bytes) => {
            let mut recipient = age::scrypt::Recipient::new(text(&bytes)?);
            recipient.set_work_factor(WORK_FACTOR);
            Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
                .map_err(|_| Failure::internal("a passphrase alone is one recipient"))?
        }
    };
    let mut writer = encryptor.wrap_output(&mut out).map_err(failed)?;
    writer.write_all(payload).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(out)
}

fn text(bytes: &[u8]) -> Result<SecretString, Failure> {
    std::str::from_utf8(bytes)
        .map(|text| SecretString::from(text.to_owned()))
        .map_err(|_| Failure::new(Code::VaultLocked, "the passphrase must be UTF-8 text"))
}

/// Makes an age identity; the file is as `age-keygen` writes it.
pub fn keygen() -> (Zeroizing<Vec<u8>>, String) {
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let mut file = Zeroizing::new(Vec::with_capacity(256));
    file.extend_from_slice(format!("# public key: {recipient}\n").as_bytes());
    file.extend_from_slice(identity.to_string().expose_secret().as_bytes());
    file.push(b'\n');
    (file, recipient)
}

/// Whether `file` asks for a passphrase rather than an identity.
///
/// # Errors
/// `malformed` when it is no age file.
pub fn wants_passphrase(file: &[u8]) -> Result<bool, Failure> {
    Ok(decryptor(file)?.is_scrypt())
}

fn decryptor(file: &[u8]) -> Result<Decryptor<&[u8]>, Failure> {
    if file.len() > MAX_FILE {
        return Err(Failure::malformed("the file is too large for a backup"));
    }
    Decryptor::new(file).map_err(|error| unopened(&error))
}

fn unopened(error: &DecryptError) -> Failure {
    match error {
        DecryptError::NoMatchingKeys => Failure::new(
            Code::VaultLocked,
            "the backup was encrypted to other recipients: give the identity of one of them",
        ),
        DecryptError::KeyDecryptionFailed => wrong_passphrase(),
        DecryptError::ExcessiveWork { .. } => {
            Failure::malformed("the backup asks for more work on its passphrase than a backup of Cairn does")
        }
        _ => damaged(),
    }
}

fn wrong_passphrase() -> Failure {
    Failure::new(
        Code::VaultLocked,
        "the backup does not open: wrong passphrase, or a damaged file",
    )
}

fn damaged() -> Failure {
    Failure::malformed("the backup is damaged, cut off, or no backup: take another copy, or make it anew")
}

/// An opened backup. Its secrets are wiped when it is dropped.
pub struct Backup {
    payload: Payload,
}

impl Backup {
    /// Decrypts `file` with `secret`: the passphrase, or the content of an identity file.
    ///
    /// # Errors
    /// `vault-locked` for the wrong secret; `malformed` for a file that is damaged, no backup, of another version or level.
    pub fn open(file: &[u8], secret: &[u8]) -> Result<Self, Failure> {
        let decryptor = decryptor(file)?;
        let by_passphrase = decryptor.is_scrypt();
        let stream = if by_passphrase {
            let mut identity = age::scrypt::Identity::new(text(secret)?);
            identity.set_max_work_factor(MAX_WORK_FACTOR);
            decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity))
        } else {
            let identities = identities(secret)?;
            decryptor.decrypt(identities.iter().map(|one| one as &dyn age::Identity))
        };
        let mut stream = stream.map_err(|error| match error {
            DecryptError::DecryptionFailed if by_passphrase => wrong_passphrase(),
            other => unopened(&other),
        })?;
        // Room for all of it at once: a growing buffer would leave copies behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(file.len()));
        stream.read_to_end(&mut plain).map_err(|_| damaged())?;
        let payload: Payload = codec::decode(&plain).map_err(|_| {
            Failure::malformed(
                "the file opens, but is no backup that this release reads: use the release that made it",
            )
        })?;
        if payload.v != VERSION {
            return Err(Failure::malformed(format!(
                "the backup is of version {}, and this release reads version {VERSION}: use the release that made it",
                payload.v
            )));
        }
        if payload.level != LEVEL.name() {
            return Err(Failure::malformed(
                "the backup is of another security level than this engine",
            ));
        }
        Ok(Self { payload })
    }

    pub fn cluster(&self) -> [u8; 32] {
        *self.payload.cluster
    }

    pub fn node(&self) -> u16 {
        self.payload.node
    }

    pub fn document(&self) -> &[u8] {
        &self.payload.document
    }

    pub fn names(&self) -> Vec<String> {
        self.payload.files.iter().map(|file| file.name.clone()).collect()
    }

    /// A file of the node's folder: never a share.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        let file = self.payload.files.iter().find(|file| file.name == name)?;
        Some(&file.content.0)
    }

    /// Seals everything for `vault`, which is of the same node and cluster.
    pub fn reseal(&self, vault: &Vault) -> Result<Vec<Item>, Failure> {
        self.payload
            .sealed
            .iter()
            .map(|held| {
                let (kind, id) = (kind_of(held.kind)?, *held.id);
                Ok(Item {
                    kind,
                    id,
                    epoch: held.epoch,
                    sealed: vault.seal(kind, place(kind, id, held.epoch), &NO_ID, &held.plain.0)?,
                })
            })
            .collect()
    }

    /// Checks that the share of the key of `public_package` is here, whole, and the one that the package's verifying share is of.
    ///
    /// # Errors
    /// `sealed-blob-invalid` when it is missing or another; `malformed` for a package that is none.
    pub fn check_share(&self, public_package: &[u8]) -> Result<(), Failure> {
        let package = PublicPackage::read(public_package)?;
        let key = KeyRef {
            key_id: *package.key_id,
            epoch: package.epoch,
        };
        let (vault, items) = self.for_check()?;
        let wanted = match package.protocol {
            Protocol::Cggmp24 => BlobKind::EcdsaShare,
            Protocol::Frost => BlobKind::FrostShare,
        };
        let item = items
            .iter()
            .find(|item| item.kind == wanted && item.id == key.key_id && item.epoch == key.epoch)
            .ok_or_else(|| {
                Failure::new(
                    Code::SealedBlobInvalid,
                    "the backup lacks the share of a key: make it anew",
                )
            })?;
        let sealed = &item.sealed;
        let node = self.payload.node;
        let held = match package.protocol {
            Protocol::Cggmp24 => ecdsa::share::open_share(&vault, key, node, sealed)?.package_bytes,
            Protocol::Frost => frost::key::open_share(&vault, key, node, sealed)?.package_bytes,
        };
        if held == public_package {
            return Ok(());
        }
        Err(Failure::new(
            Code::SealedBlobInvalid,
            "a share in the backup belongs to another public package: make the backup anew",
        ))
    }

    /// Checks that auxiliary information of exactly `parties` is here and whole.
    pub fn check_aux(&self, parties: &[u16]) -> Result<(), Failure> {
        let (vault, items) = self.for_check()?;
        let found = items
            .iter()
            .filter(|item| item.kind == BlobKind::EcdsaAux)
            .any(|item| ecdsa::share::open_aux(&vault, parties, &item.sealed).is_ok());
        if found {
            return Ok(());
        }
        Err(Failure::new(
            Code::SealedBlobInvalid,
            "the backup lacks the auxiliary information of the cluster's members: make it anew",
        ))
    }

    /// Sealed under a key that lives as long as one check, so that shares are read by the code that signs with them.
    fn for_check(&self) -> Result<(Vault, Vec<Item>), Failure> {
        let mut key = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(&mut *key);
        let vault = Vault::new(&key, *self.payload.cluster, self.payload.node);
        let items = self.reseal(&vault)?;
        Ok((vault, items))
    }
}

/// The X25519 identities of an identity file: a line each; `#` begins a comment.
fn identities(file: &[u8]) -> Result<Vec<age::x25519::Identity>, Failure> {
    let refuse = || {
        Failure::new(
            Code::VaultLocked,
            "the identity file must hold an age identity: a line that begins with AGE-SECRET-KEY-1",
        )
    };
    let lines = std::str::from_utf8(file).map_err(|_| refuse())?.lines();
    let found = lines
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.parse().map_err(|_| refuse()))
        .collect::<Result<Vec<_>, Failure>>()?;
    if found.is_empty() {
        Err(refuse())
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: [u8; 32] = [2; 32];
    const KEY: KeyRef = KeyRef {
        key_id: [3; 32],
        epoch: 7,
    };

    fn vault(key: u8) -> Vault {
        Vault::new(&Zeroizing::new([key; 32]), CLUSTER, 4)
    }

    fn content() -> Content {
        let sealed = vault(1)
            .seal(BlobKind::FrostShare, KEY, &NO_ID, b"a share")
            .unwrap();
        Content {
            document: b"document".to_vec(),
            files: vec![PlainFile {
                name: "identity.pem".into(),
                content: Zeroizing::new(b"pem".to_vec()),
            }],
            items: vec![Item {
                kind: BlobKind::FrostShare,
                id: KEY.key_id,
                epoch: KEY.epoch,
                sealed,
            }],
        }
    }

    #[test]
    fn what_went_in_comes_out_for_another_vault() {
        let (identity, recipient) = keygen();
        let file = create(
            &vault(1),
            CLUSTER,
            4,
            content(),
            Lock::Recipients(vec![recipient]),
        )
        .unwrap();
        assert!(!wants_passphrase(&file).unwrap());
        assert!(!file.windows(7).any(|window| window == b"a share"));
        let backup = Backup::open(&file, &identity).unwrap();
        assert_eq!((backup.cluster(), backup.node()), (CLUSTER, 4));
        assert_eq!(backup.document(), b"document");
        assert_eq!(backup.names(), ["identity.pem"]);
        assert_eq!(backup.file("identity.pem"), Some(&b"pem"[..]));
        let items = backup.reseal(&vault(9)).unwrap();
        let plain = vault(9)
            .open(BlobKind::FrostShare, KEY, &NO_ID, &items[0].sealed)
            .unwrap();
        assert_eq!(plain.as_slice(), b"a share");
        assert!(
            vault(1)
                .open(BlobKind::FrostShare, KEY, &NO_ID, &items[0].sealed)
                .is_err()
        );
    }

    #[test]
    fn a_passphrase_opens_what_it_has_locked() {
        let lock = Lock::Passphrase(Zeroizing::new(b"correct horse".to_vec()));
        let file = create(&vault(1), CLUSTER, 4, content(), lock).unwrap();
        assert!(wants_passphrase(&file).unwrap());
        assert!(Backup::open(&file, b"correct horse").is_ok());
        assert_eq!(
            Backup::open(&file, b"battery staple").err().unwrap().code,
            Code::VaultLocked
        );
    }

    #[test]
    fn no_other_identity_opens_it_and_every_altered_byte_shows() {
        let (identity, recipient) = keygen();
        let file = create(
            &vault(1),
            CLUSTER,
            4,
            content(),
            Lock::Recipients(vec![recipient]),
        )
        .unwrap();
        let (other, _) = keygen();
        assert_eq!(Backup::open(&file, &other).err().unwrap().code, Code::VaultLocked);
        assert_eq!(
            Backup::open(&file, b"no identity").err().unwrap().code,
            Code::VaultLocked
        );
        for at in 0..file.len() {
            let mut altered = file.clone();
            altered[at] ^= 1;
            assert!(Backup::open(&altered, &identity).is_err(), "byte {at}");
            assert!(Backup::open(&file[..at], &identity).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn presignatures_and_primes_have_no_place_in_it() {
        for name in ["cggmp24-presignature", "prime", "node-secret", ""] {
            assert_eq!(kind(name).err().unwrap().code, Code::Malformed);
        }
        for number in [BlobKind::EcdsaPresignature, BlobKind::Prime, BlobKind::NodeSecret] {
            assert!(kind_of(number as u8).is_err());
        }
    }

    #[test]
    fn recipients_that_are_none_are_refused() {
        for names in [vec![], vec!["age1nonsense".to_owned()], vec![String::new()]] {
            let made = create(&vault(1), CLUSTER, 4, content(), Lock::Recipients(names));
            assert_eq!(made.err().unwrap().code, Code::Malformed);
        }
    }
}
