//! Backups as Node sees them: ciphertext, documents without secrets, and blobs that a vault has sealed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use napi::bindgen_prelude::{AsyncTask, Buffer, Env, Task as NapiTask, Uint8Array};
use napi_derive::napi;
use zeroize::Zeroizing;

use crate::asked_secret::AskedSecret;
use crate::backup::{self, Backup, Content, Item, Lock, PlainFile};
use crate::binding::{FailureObject, NativeEngine, Thrown, Work, counter, guarded, indices};
use crate::engine::array32;
use crate::failure::{Code, Failure};

/// `file` with a path, `descriptor` with a number, or `terminal` with a question.
#[napi(object, object_to_js = false)]
pub struct AskedSecretOptions {
    pub kind: String,
    pub path: Option<String>,
    pub descriptor: Option<u32>,
    pub question: Option<String>,
}

fn asked(options: AskedSecretOptions) -> Result<AskedSecret, Failure> {
    let AskedSecretOptions {
        kind,
        path,
        descriptor,
        question,
    } = options;
    match (kind.as_str(), path, descriptor, question) {
        ("file", Some(path), None, None) => Ok(AskedSecret::File(PathBuf::from(path))),
        ("descriptor", None, Some(number), None) => Ok(AskedSecret::Descriptor(number)),
        ("terminal", None, None, Some(question)) => Ok(AskedSecret::Terminal(question)),
        _ => Err(Failure::malformed(
            "a secret comes from a file with a path, a descriptor with a number, or the terminal with a question",
        )),
    }
}

#[napi(object, object_to_js = false)]
pub struct BackupFileOptions {
    pub name: String,
    pub content: Uint8Array,
}

#[napi(object, object_to_js = false)]
pub struct BackupItemOptions {
    pub kind: String,
    pub id: Uint8Array,
    pub epoch: f64,
    pub sealed: Uint8Array,
}

#[napi(object, object_to_js = false)]
pub struct BackupOptions {
    pub document: Uint8Array,
    pub files: Vec<BackupFileOptions>,
    pub items: Vec<BackupItemOptions>,
    pub recipients: Vec<String>,
    pub passphrase: Option<AskedSecretOptions>,
}

#[napi(object, object_from_js = false)]
pub struct BackupItemObject {
    pub kind: String,
    pub id: Buffer,
    pub epoch: f64,
    pub sealed: Buffer,
}

/// The age file, or why there is none.
#[napi(object, object_from_js = false)]
pub struct BackupAnswer {
    pub file: Option<Buffer>,
    pub failure: Option<FailureObject>,
}

impl NapiTask for Work<Vec<u8>> {
    type Output = Result<Vec<u8>, Failure>;
    type JsValue = BackupAnswer;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        Ok(self.run())
    }

    fn resolve(&mut self, _: Env, output: Self::Output) -> napi::Result<BackupAnswer> {
        Ok(match output {
            Ok(file) => BackupAnswer {
                file: Some(file.into()),
                failure: None,
            },
            Err(failure) => BackupAnswer {
                file: None,
                failure: Some(failure.into()),
            },
        })
    }
}

/// Nothing, or why a check failed.
#[napi(object, object_from_js = false)]
pub struct CheckAnswer {
    pub failure: Option<FailureObject>,
}

impl NapiTask for Work<()> {
    type Output = Result<(), Failure>;
    type JsValue = CheckAnswer;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        Ok(self.run())
    }

    fn resolve(&mut self, _: Env, output: Self::Output) -> napi::Result<CheckAnswer> {
        Ok(CheckAnswer {
            failure: output.err().map(FailureObject::from),
        })
    }
}

fn lock(recipients: Vec<String>, passphrase: Option<AskedSecretOptions>) -> Result<Lock, Failure> {
    match (recipients.is_empty(), passphrase) {
        (false, None) => Ok(Lock::Recipients(recipients)),
        (true, Some(source)) => Ok(Lock::Passphrase(asked(source)?.read_new()?)),
        _ => Err(Failure::malformed(
            "a backup is locked either to recipients or with a passphrase",
        )),
    }
}

#[napi]
impl NativeEngine {
    /// Makes an age file of what this vault has sealed, of files, and of a document.
    #[napi]
    pub fn create_backup(&self, options: BackupOptions) -> Result<AsyncTask<Work<Vec<u8>>>, Thrown> {
        Ok(guarded(|| {
            let engine = self.engine()?;
            let (cluster, node) = engine.owner();
            let content = Content {
                document: options.document.to_vec(),
                files: options
                    .files
                    .into_iter()
                    .map(|file| PlainFile {
                        name: file.name,
                        content: Zeroizing::new(file.content.to_vec()),
                    })
                    .collect(),
                items: options
                    .items
                    .into_iter()
                    .map(|item| {
                        Ok(Item {
                            kind: backup::kind(&item.kind)?,
                            id: array32(&item.id, "an id in a backup")?,
                            epoch: counter(item.epoch, "an epoch")?,
                            sealed: item.sealed.to_vec(),
                        })
                    })
                    .collect::<Result<_, Failure>>()?,
            };
            let (recipients, passphrase) = (options.recipients, options.passphrase);
            Ok(AsyncTask::new(Work::new(move || {
                backup::create(
                    &engine.vault(),
                    cluster,
                    node,
                    content,
                    lock(recipients, passphrase)?,
                )
            })))
        })?)
    }
}

/// An opened backup.
#[napi]
pub struct NativeBackup {
    inner: Mutex<Option<Arc<Backup>>>,
}

impl NativeBackup {
    fn backup(&self) -> Result<Arc<Backup>, Failure> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner
            .clone()
            .ok_or_else(|| Failure::new(Code::Closed, "the backup is closed"))
    }
}

#[napi]
impl NativeBackup {
    /// Opens an age file. Throws `vault-locked` for the wrong secret, `malformed` for what is no whole backup.
    #[napi(factory)]
    pub fn open(file: Uint8Array, secret: AskedSecretOptions) -> Result<Self, Thrown> {
        Ok(guarded(|| {
            let secret = asked(secret)?.read()?;
            let inner = Backup::open(&file, &secret)?;
            Ok(Self {
                inner: Mutex::new(Some(Arc::new(inner))),
            })
        })?)
    }

    #[napi]
    pub fn cluster(&self) -> Result<Buffer, Thrown> {
        Ok(guarded(|| Ok(self.backup()?.cluster().to_vec().into()))?)
    }

    #[napi]
    pub fn node(&self) -> Result<u32, Thrown> {
        Ok(guarded(|| Ok(self.backup()?.node().into()))?)
    }

    #[napi]
    pub fn document(&self) -> Result<Buffer, Thrown> {
        Ok(guarded(|| Ok(self.backup()?.document().to_vec().into()))?)
    }

    #[napi]
    pub fn names(&self) -> Result<Vec<String>, Thrown> {
        Ok(guarded(|| Ok(self.backup()?.names()))?)
    }

    /// A file of the node's folder; the caller wipes it after use.
    #[napi]
    pub fn file(&self, name: String) -> Result<Option<Buffer>, Thrown> {
        Ok(guarded(|| {
            Ok(self.backup()?.file(&name).map(|content| content.to_vec().into()))
        })?)
    }

    /// Checks the share that belongs to a public package.
    #[napi]
    pub fn check_share(&self, public_package: Uint8Array) -> Result<AsyncTask<Work<()>>, Thrown> {
        Ok(guarded(|| {
            let (backup, package) = (self.backup()?, public_package.to_vec());
            Ok(AsyncTask::new(Work::new(move || backup.check_share(&package))))
        })?)
    }

    /// Checks the auxiliary information of a set of parties.
    #[napi]
    pub fn check_aux(&self, parties: Vec<u32>) -> Result<AsyncTask<Work<()>>, Thrown> {
        Ok(guarded(|| {
            let (backup, parties) = (self.backup()?, indices(&parties)?);
            Ok(AsyncTask::new(Work::new(move || backup.check_aux(&parties))))
        })?)
    }

    /// Seals everything for the vault of `engine`, which is of the same node and cluster.
    #[napi]
    pub fn reseal(&self, engine: &NativeEngine) -> Result<Vec<BackupItemObject>, Thrown> {
        Ok(guarded(|| {
            let (backup, engine) = (self.backup()?, engine.engine()?);
            if engine.owner() != (backup.cluster(), backup.node()) {
                return Err(Failure::malformed(
                    "the backup is of another node than the vault it is restored into",
                ));
            }
            let items = backup.reseal(&engine.vault())?;
            Ok(items
                .into_iter()
                .map(|item| BackupItemObject {
                    kind: backup::kind_name(item.kind).into(),
                    id: item.id.to_vec().into(),
                    epoch: item.epoch as f64,
                    sealed: item.sealed.into(),
                })
                .collect())
        })?)
    }

    /// Wipes it.
    #[napi]
    pub fn close(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Makes an age identity in a new file of mode 0600, and says its recipient.
#[napi]
pub fn create_backup_identity(path: String) -> Result<String, Thrown> {
    Ok(guarded(|| {
        let (file, recipient) = backup::keygen();
        crate::key_source::write_private(std::path::Path::new(&path), &file)?;
        Ok(recipient)
    })?)
}

/// Whether a backup asks for a passphrase rather than an identity.
#[napi]
pub fn backup_wants_passphrase(file: Uint8Array) -> Result<bool, Thrown> {
    Ok(guarded(|| backup::wants_passphrase(&file))?)
}
