//! Where the key-encryption key comes from. A source is one implementation of [`KeySource`]; the vault knows none of them.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use rand_core::{OsRng, RngCore};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use zeroize::Zeroizing;

use crate::asked_secret::AskedSecret;
use crate::codec;
use crate::context::KeyRef;
use crate::failure::{Code, Failure};
use crate::vault::{BlobKind, KeyEncryptionKey, NO_ID, Vault};

/// Parameters that a source may need besides its secret; they are no secrets and lie in the vault's header file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Derivation {
    /// Argon2id memory in KiB, passes and lanes (RFC 9106); zeros where the source yields the key itself.
    pub memory: u32,
    pub passes: u32,
    pub lanes: u32,
    pub salt: ByteArray<32>,
}

/// The port: yields the key-encryption key, given the derivation of the vault's header.
pub trait KeySource {
    /// Derivation for a new vault.
    fn derivation(&self) -> Derivation;

    /// # Errors
    /// `file-missing`, `file-mode`, `vault-locked`; never with secret content in the message.
    fn key(&self, derivation: &Derivation) -> Result<KeyEncryptionKey, Failure>;
}

const NOT_DERIVED: Derivation = Derivation {
    memory: 0,
    passes: 0,
    lanes: 0,
    salt: ByteArray::new([0; 32]),
};

/// 32 random bytes in a regular file of mode 0600 (or 0400) that belongs to this user.
pub struct KeyFile(pub PathBuf);

impl KeySource for KeyFile {
    fn derivation(&self) -> Derivation {
        NOT_DERIVED
    }

    fn key(&self, _: &Derivation) -> Result<KeyEncryptionKey, Failure> {
        let mut file = open_private(&self.0, Owner::ThisUser)?;
        exactly_32(&mut file, &self.0)
    }
}

impl KeyFile {
    /// Makes a new key file with bytes of the operating system's generator.
    ///
    /// # Errors
    /// `file-exists` rather than overwriting a key.
    pub fn create(path: &Path) -> Result<(), Failure> {
        let mut key = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(&mut *key);
        write_private(path, &*key)
    }
}

/// Writes a new file of mode 0600.
///
/// # Errors
/// `file-exists` rather than overwriting a key.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Failure::new(
                Code::FileExists,
                format!("{} exists; a key file is never overwritten", path.display()),
            ),
            _ => unreadable(path, &error),
        })?;
    file.write_all(bytes).map_err(|error| unreadable(path, &error))?;
    file.sync_all().map_err(|error| unreadable(path, &error))?;
    sync_parent(path)
}

/// A credential of systemd (`LoadCredential=`, `LoadCredentialEncrypted=`): 32 bytes in `$CREDENTIALS_DIRECTORY`.
pub struct SystemdCredential(pub String);

impl KeySource for SystemdCredential {
    fn derivation(&self) -> Derivation {
        NOT_DERIVED
    }

    fn key(&self, _: &Derivation) -> Result<KeyEncryptionKey, Failure> {
        let name_is_plain = !self.0.is_empty()
            && self
                .0
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && !self.0.starts_with('.');
        let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
        let (true, Some(folder)) = (name_is_plain, folder) else {
            return Err(Failure::new(
                Code::FileMissing,
                "no systemd credential: set LoadCredential= in the unit and name the credential plainly",
            ));
        };
        let path = PathBuf::from(folder).join(&self.0);
        let mut file = open_private(&path, Owner::ThisUserOrRoot)?;
        exactly_32(&mut file, &path)
    }
}

/// Argon2id over a passphrase (RFC 9106, second recommended option: 64 MiB, 3 passes, 4 lanes).
pub struct Passphrase(pub AskedSecret);

impl KeySource for Passphrase {
    fn derivation(&self) -> Derivation {
        let mut salt = [0; 32];
        OsRng.fill_bytes(&mut salt);
        Derivation {
            memory: 64 * 1024,
            passes: 3,
            lanes: 4,
            salt: ByteArray::new(salt),
        }
    }

    fn key(&self, derivation: &Derivation) -> Result<KeyEncryptionKey, Failure> {
        let within = (8 * 1024..=4 * 1024 * 1024).contains(&derivation.memory)
            && (1..=64).contains(&derivation.passes)
            && (1..=64).contains(&derivation.lanes);
        if !within {
            return Err(Failure::new(
                Code::VaultLocked,
                "the vault was not made with a passphrase; configure the key source it was made with",
            ));
        }
        let passphrase = self.0.read()?;
        let params = Params::new(derivation.memory, derivation.passes, derivation.lanes, Some(32))
            .map_err(|_| Failure::internal("the vault's Argon2id parameters are invalid"))?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(&passphrase, derivation.salt.as_slice(), &mut *key)
            .map_err(|_| Failure::internal("deriving the vault's key failed"))?;
        Ok(key)
    }
}

pub(crate) enum Owner {
    ThisUser,
    ThisUserOrRoot,
}

/// Opens a regular file that nobody else can read or change. Symbolic links are refused.
pub(crate) fn open_private(path: &Path, owner: Owner) -> Result<File, Failure> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(path)
        .map_err(|error| unreadable(path, &error))?;
    let meta = file.metadata().map_err(|error| unreadable(path, &error))?;
    let uid = rustix::process::geteuid().as_raw();
    // systemd keeps credentials as root with an access list for the service's user, which shows as a group bit.
    let (owned, forbidden) = match owner {
        Owner::ThisUser => (meta.uid() == uid, 0o177),
        Owner::ThisUserOrRoot => (meta.uid() == uid || meta.uid() == 0, 0o137),
    };
    if !meta.is_file() || !owned || meta.mode() & forbidden != 0 {
        return Err(Failure::new(
            Code::FileMode,
            format!(
                "{} must be a regular file that belongs to this user, with mode 0600 (chown, chmod 600)",
                path.display()
            ),
        ));
    }
    Ok(file)
}

fn exactly_32(file: &mut File, path: &Path) -> Result<KeyEncryptionKey, Failure> {
    let mut key = Zeroizing::new([0; 32]);
    let wrong = || {
        Failure::new(
            Code::VaultLocked,
            format!("{} must hold exactly 32 random bytes", path.display()),
        )
    };
    file.read_exact(&mut *key).map_err(|_| wrong())?;
    let mut more = [0];
    match file.read(&mut more) {
        Ok(0) => Ok(key),
        _ => Err(wrong()),
    }
}

pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let code = match error.kind() {
        ErrorKind::NotFound => Code::FileMissing,
        _ => Code::FileMode,
    };
    Failure::new(code, format!("cannot use {}: {}", path.display(), error.kind()))
}

fn sync_parent(path: &Path) -> Result<(), Failure> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| unreadable(parent, &error))
}

/// The header file beside the vault's blobs: derivation, and a sealed check by which a wrong key shows at once.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    v: u8,
    derivation: Derivation,
    check: ByteBuf,
}

const CHECK: &[u8] = b"cairn vault";

/// Opens the vault whose header lies at `header`, or makes it when there is none.
///
/// # Errors
/// `vault-locked` when the key is not the one that the vault was made with; those of the source.
pub fn open_vault(
    source: &dyn KeySource,
    header: &Path,
    cluster: [u8; 32],
    node: u16,
) -> Result<Vault, Failure> {
    match std::fs::read(header) {
        Ok(bytes) => {
            let read: Header = codec::decode(&bytes)
                .ok()
                .filter(|h: &Header| h.v == 1)
                .ok_or_else(|| {
                    Failure::new(
                        Code::VaultLocked,
                        format!("{} is damaged; restore it from a backup", header.display()),
                    )
                })?;
            let vault = Vault::new(&source.key(&read.derivation)?, cluster, node);
            match vault.open(BlobKind::Check, KeyRef::NONE, &NO_ID, &read.check) {
                Ok(plain) if plain.as_slice() == CHECK => Ok(vault),
                _ => Err(Failure::new(
                    Code::VaultLocked,
                    "the vault does not open: wrong passphrase or key file, or a vault of another node, cluster or level",
                )),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let derivation = source.derivation();
            let vault = Vault::new(&source.key(&derivation)?, cluster, node);
            let check = vault.seal(BlobKind::Check, KeyRef::NONE, &NO_ID, CHECK)?;
            let bytes = codec::encode(&Header {
                v: 1,
                derivation,
                check: ByteBuf::from(check),
            })?;
            write_new(header, &bytes)?;
            Ok(vault)
        }
        Err(error) => Err(unreadable(header, &error)),
    }
}

/// Writes a file whole or not at all, mode 0600, and never over another.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{:016x}.tmp", OsRng.next_u64()));
    let temporary = PathBuf::from(temporary);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        // A link refuses to replace a header that another process made meanwhile; a rename would not.
        .and_then(|()| std::fs::hard_link(&temporary, path));
    let removed = std::fs::remove_file(&temporary);
    written.map_err(|error| unreadable(path, &error))?;
    removed.map_err(|error| unreadable(&temporary, &error))?;
    sync_parent(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("cairn-vault-{:016x}", OsRng.next_u64()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }
        fn at(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
        fn file(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
            let path = self.at(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_vault_opens_again_with_its_own_key_only() {
        let folder = Folder::new();
        KeyFile::create(&folder.at("a")).unwrap();
        KeyFile::create(&folder.at("b")).unwrap();
        assert_eq!(
            KeyFile::create(&folder.at("a")).unwrap_err().code,
            Code::FileExists
        );
        let header = folder.at("vault");
        let open = |key: &str, node| open_vault(&KeyFile(folder.at(key)), &header, [1; 32], node);
        let blob = open("a", 1)
            .unwrap()
            .seal(BlobKind::Prime, KeyRef::NONE, &NO_ID, b"x")
            .unwrap();
        let again = open("a", 1).unwrap();
        assert_eq!(
            again
                .open(BlobKind::Prime, KeyRef::NONE, &NO_ID, &blob)
                .unwrap()
                .as_slice(),
            b"x"
        );
        assert_eq!(open("b", 1).err().unwrap().code, Code::VaultLocked);
        assert_eq!(open("a", 2).err().unwrap().code, Code::VaultLocked);
        assert_eq!(std::fs::metadata(&header).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn key_files_of_wrong_mode_length_or_kind_are_refused() {
        let folder = Folder::new();
        let code = |path: PathBuf| KeyFile(path).key(&NOT_DERIVED).unwrap_err().code;
        assert_eq!(code(folder.at("none")), Code::FileMissing);
        assert_eq!(code(folder.file("group", &[1; 32], 0o640)), Code::FileMode);
        assert_eq!(code(folder.file("world", &[1; 32], 0o604)), Code::FileMode);
        assert_eq!(code(folder.file("short", &[1; 31], 0o600)), Code::VaultLocked);
        assert_eq!(code(folder.file("long", &[1; 33], 0o600)), Code::VaultLocked);
        let good = folder.file("good", &[1; 32], 0o600);
        let link = folder.at("link");
        std::os::unix::fs::symlink(&good, &link).unwrap();
        assert_eq!(code(link), Code::FileMode);
        assert_eq!(code(folder.0.clone()), Code::FileMode);
        assert_eq!(*KeyFile(good).key(&NOT_DERIVED).unwrap(), [1; 32]);
    }

    #[test]
    fn a_passphrase_opens_its_vault_and_another_does_not() {
        let folder = Folder::new();
        let right = || Passphrase(AskedSecret::File(folder.file("right", b"correct horse\n", 0o600)));
        let wrong = || Passphrase(AskedSecret::File(folder.file("wrong", b"battery staple", 0o600)));
        let header = folder.at("vault");
        open_vault(&right(), &header, [1; 32], 1).unwrap();
        open_vault(&right(), &header, [1; 32], 1).unwrap();
        assert_eq!(
            open_vault(&wrong(), &header, [1; 32], 1).err().unwrap().code,
            Code::VaultLocked
        );
        let empty = Passphrase(AskedSecret::File(folder.file("empty", b"\n", 0o600)));
        assert_eq!(
            open_vault(&empty, &header, [1; 32], 1).err().unwrap().code,
            Code::VaultLocked
        );
    }

    #[test]
    fn a_passphrase_comes_from_a_descriptor() {
        use std::os::fd::AsRawFd;
        let folder = Folder::new();
        let file = File::open(folder.file("right", b"correct horse", 0o600)).unwrap();
        let number = u32::try_from(file.as_raw_fd()).unwrap();
        let source = Passphrase(AskedSecret::Descriptor(number));
        assert_eq!(source.0.read().unwrap().as_slice(), b"correct horse");
    }
}
