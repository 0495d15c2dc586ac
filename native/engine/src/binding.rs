//! What Node sees: plain objects in, plain objects out, errors with a code. Arguments are checked here or in [`crate::engine`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use napi::bindgen_prelude::{AsyncTask, Buffer, Env, Task as NapiTask, Uint8Array, Unknown};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Error, Status};
use napi_derive::napi;

use crate::asked_secret::AskedSecret;
use crate::child::KeyPath;
use crate::context::{KeyRef, Transcript};
use crate::ecdsa::partial::{IssueRequest, combine_partials};
use crate::ecdsa::sign::{PresignItem, SignItem};
use crate::engine::{self, Engine, Output, Spec, Task, array32};
use crate::failure::{Code, Failure};
use crate::key_source::{KeyFile, KeySource, Passphrase, SystemdCredential};
use crate::level::LEVEL;
use crate::primes::pool::Search;
use crate::public_package::PublicPackage;
use crate::receipts::BurnReceipt;
use crate::session::{Event, Session};
use crate::vault::BlobKind;

pub(crate) type Thrown = Error<Code>;

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        self.name()
    }
}

impl From<Status> for Code {
    fn from(_: Status) -> Self {
        Code::Malformed
    }
}

impl From<Failure> for Thrown {
    fn from(failure: Failure) -> Self {
        Error::new(failure.code, failure.message)
    }
}

/// Runs `body` so that a panic becomes an `internal` error.
pub(crate) fn guarded<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|_| Err(Failure::internal("the engine failed inside a call")))
}

pub(crate) fn index(value: u32, what: &str) -> Result<u16, Failure> {
    u16::try_from(value)
        .ok()
        .filter(|value| (1..=255).contains(value))
        .ok_or_else(|| Failure::malformed(format!("{what} is a node index from 1 to 255")))
}

pub(crate) fn indices(values: &[u32]) -> Result<Vec<u16>, Failure> {
    values.iter().map(|&value| index(value, "a party")).collect()
}

/// Counters and epochs are safe integers in JavaScript.
pub(crate) fn counter(value: f64, what: &str) -> Result<u64, Failure> {
    const MAX_SAFE: f64 = 9_007_199_254_740_991.0;
    if value.fract() == 0.0 && (0.0..=MAX_SAFE).contains(&value) {
        Ok(value as u64)
    } else {
        Err(Failure::malformed(format!(
            "{what} is a whole number from 0 to 2^53 - 1"
        )))
    }
}

/// Security level of this binary: `full` or `reduced`.
#[napi]
pub fn level() -> &'static str {
    LEVEL.name()
}

/// Makes a key file: 32 random bytes, mode 0600, never over another file.
#[napi]
pub fn create_key_file(path: String) -> Result<(), Thrown> {
    Ok(guarded(|| KeyFile::create(Path::new(&path)))?)
}

#[napi(object, object_to_js = false)]
pub struct KeySourceOptions {
    /// `file`, `credential`, `passphrase-file` or `passphrase-fd`.
    pub kind: String,
    pub path: Option<String>,
    pub name: Option<String>,
    pub descriptor: Option<u32>,
}

#[napi(object, object_to_js = false)]
pub struct EngineOptions {
    pub cluster: Uint8Array,
    pub node: u32,
    pub vault_header: String,
    pub key_source: KeySourceOptions,
    pub threads: Option<u32>,
}

fn source(options: KeySourceOptions) -> Result<Box<dyn KeySource>, Failure> {
    let KeySourceOptions {
        kind,
        path,
        name,
        descriptor,
    } = options;
    match (kind.as_str(), path, name, descriptor) {
        ("file", Some(path), None, None) => Ok(Box::new(KeyFile(PathBuf::from(path)))),
        ("credential", None, Some(name), None) => Ok(Box::new(SystemdCredential(name))),
        ("passphrase-file", Some(path), None, None) => {
            Ok(Box::new(Passphrase(AskedSecret::File(PathBuf::from(path)))))
        }
        ("passphrase-fd", None, None, Some(number)) => {
            Ok(Box::new(Passphrase(AskedSecret::Descriptor(number))))
        }
        _ => Err(Failure::malformed(
            "a key source is a file or passphrase-file with a path, a credential with a name, or a passphrase-fd with a descriptor",
        )),
    }
}

#[napi(object, object_to_js = false)]
pub struct ItemOptions {
    pub change: u32,
    pub index: u32,
    /// Presigning: the presignature's id.
    pub id: Option<Uint8Array>,
    /// Signing: what the engine hashes and signs.
    pub preimage: Option<Uint8Array>,
}

#[napi(object, object_to_js = false)]
pub struct SealedPrimeOptions {
    pub id: Uint8Array,
    pub sealed: Uint8Array,
}

#[napi(object, object_to_js = false)]
pub struct SessionOptions {
    pub kind: String,
    pub execution_id: Uint8Array,
    pub me: u32,
    pub parties: Vec<u32>,
    pub key_id: Option<Uint8Array>,
    pub epoch: Option<f64>,
    pub threshold: Option<u32>,
    pub sealed_aux: Option<Uint8Array>,
    pub sealed_share: Option<Uint8Array>,
    pub primes: Option<Vec<SealedPrimeOptions>>,
    pub items: Option<Vec<ItemOptions>>,
}

fn need<T>(value: Option<T>, what: &str) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::malformed(format!("the session needs {what}")))
}

fn key_ref(key_id: &[u8], epoch: f64) -> Result<KeyRef, Failure> {
    Ok(KeyRef {
        key_id: array32(key_id, "a key id")?,
        epoch: counter(epoch, "an epoch")?,
    })
}

fn session_spec(options: SessionOptions) -> Result<Spec, Failure> {
    let key = || {
        key_ref(
            need(options.key_id.as_deref(), "a key id")?,
            need(options.epoch, "an epoch")?,
        )
    };
    let share = || Ok::<_, Failure>(need(options.sealed_share.as_deref(), "a sealed share")?.to_vec());
    let threshold = || index(need(options.threshold, "a threshold")?, "a threshold");
    let items = || need(options.items.as_ref(), "items");
    let sign_items = || {
        items()?
            .iter()
            .map(|item| {
                Ok(SignItem {
                    path: KeyPath::new(item.change, item.index)?,
                    preimage: need(item.preimage.as_deref(), "a preimage for each item")?.to_vec(),
                })
            })
            .collect::<Result<Vec<_>, Failure>>()
    };
    let task = match options.kind.as_str() {
        "cggmp24-aux" => Task::EcdsaAux {
            primes: need(options.primes.as_ref(), "primes")?
                .iter()
                .map(|prime| Ok((array32(&prime.id, "a prime's id")?, prime.sealed.to_vec())))
                .collect::<Result<_, Failure>>()?,
        },
        "cggmp24-keygen" => Task::EcdsaKeygen {
            key: key()?,
            threshold: threshold()?,
            sealed_aux: need(options.sealed_aux.as_deref(), "sealed auxiliary information")?.to_vec(),
        },
        "frost-keygen" => Task::FrostKeygen {
            key: key()?,
            threshold: threshold()?,
        },
        "cggmp24-presign" => Task::EcdsaPresign {
            key: key()?,
            sealed_share: share()?,
            items: items()?
                .iter()
                .map(|item| {
                    Ok(PresignItem {
                        id: array32(
                            need(item.id.as_deref(), "an id for each presignature")?,
                            "a presignature's id",
                        )?,
                        path: KeyPath::new(item.change, item.index)?,
                    })
                })
                .collect::<Result<_, Failure>>()?,
        },
        "cggmp24-sign" => Task::EcdsaSign {
            key: key()?,
            sealed_share: share()?,
            items: sign_items()?,
        },
        "frost-sign" => Task::FrostSign {
            key: key()?,
            sealed_share: share()?,
            items: sign_items()?,
        },
        _ => return Err(Failure::malformed("the session is of an unknown kind")),
    };
    Ok(Spec {
        execution_id: array32(&options.execution_id, "an execution id")?,
        me: index(options.me, "this node")?,
        parties: indices(&options.parties)?,
        task,
    })
}

#[napi(object, object_from_js = false)]
pub struct FailureObject {
    pub code: String,
    pub round: u32,
    pub blamed: Vec<u32>,
    pub message: String,
}

impl From<Failure> for FailureObject {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code.name().into(),
            round: failure.round.into(),
            blamed: failure.blamed.into_iter().map(u32::from).collect(),
            message: failure.message,
        }
    }
}

#[napi(object, object_from_js = false)]
pub struct PresignatureObject {
    pub id: Buffer,
    pub sealed: Buffer,
    pub public_data: Buffer,
}

/// `type` is `send`, `progress`, `done` or `failed`; the other fields go with it.
#[napi(object, object_from_js = false)]
pub struct SessionEvent {
    #[napi(js_name = "type")]
    pub event: String,
    pub to: Option<u32>,
    pub round: Option<u32>,
    pub rounds: Option<u32>,
    pub step: Option<String>,
    pub payload: Option<Buffer>,
    pub sealed_aux: Option<Buffer>,
    pub sealed_share: Option<Buffer>,
    pub public_package: Option<Buffer>,
    pub presignatures: Option<Vec<PresignatureObject>>,
    pub signatures: Option<Vec<Buffer>>,
    pub failure: Option<FailureObject>,
}

impl SessionEvent {
    fn new(event: &str) -> Self {
        Self {
            event: event.into(),
            to: None,
            round: None,
            rounds: None,
            step: None,
            payload: None,
            sealed_aux: None,
            sealed_share: None,
            public_package: None,
            presignatures: None,
            signatures: None,
            failure: None,
        }
    }
}

impl From<Event<Output>> for SessionEvent {
    fn from(event: Event<Output>) -> Self {
        match event {
            Event::Send { to, round, payload } => Self {
                to: to.map(u32::from),
                round: Some(round.into()),
                payload: Some(payload.into()),
                ..Self::new("send")
            },
            Event::Progress { round, rounds, step } => Self {
                round: Some(round.into()),
                rounds: Some(rounds.into()),
                step: Some(step.into()),
                ..Self::new("progress")
            },
            Event::Failed(failure) => Self {
                failure: Some(failure.into()),
                ..Self::new("failed")
            },
            Event::Done(Output::Aux(sealed)) => Self {
                sealed_aux: Some(sealed.into()),
                ..Self::new("done")
            },
            Event::Done(Output::Key(key)) => Self {
                sealed_share: Some(key.sealed_share.into()),
                public_package: Some(key.public_package.into()),
                ..Self::new("done")
            },
            Event::Done(Output::Presignatures(made)) => Self {
                presignatures: Some(
                    made.into_iter()
                        .map(|one| PresignatureObject {
                            id: one.id.to_vec().into(),
                            sealed: one.sealed.into(),
                            public_data: one.public_data.into(),
                        })
                        .collect(),
                ),
                ..Self::new("done")
            },
            Event::Done(Output::Signatures(signatures)) => Self {
                signatures: Some(signatures.into_iter().map(|s| s.to_vec().into()).collect()),
                ..Self::new("done")
            },
        }
    }
}

/// Keeps the process alive while its session lives: the session drops it with its last event.
type SessionCallback = ThreadsafeFunction<SessionEvent, Unknown<'static>, SessionEvent, Status, false>;

/// Does not keep the process alive.
type PrimeCallback = ThreadsafeFunction<PrimeEvent, Unknown<'static>, PrimeEvent, Status, false, true>;

/// A sealed prime as it was found, or why the search ended.
#[napi(object, object_from_js = false)]
pub struct PrimeEvent {
    pub id: Option<Buffer>,
    pub sealed: Option<Buffer>,
    pub failure: Option<FailureObject>,
}

#[napi(object, object_to_js = false)]
pub struct IssueOptions {
    pub key_id: Uint8Array,
    pub epoch: f64,
    pub sealed_presignature: Uint8Array,
    pub presignature_id: Uint8Array,
    pub receipt_epoch: f64,
    pub burn_counter: f64,
    pub change: u32,
    pub index: u32,
    pub signers: Vec<u32>,
    pub preimage: Uint8Array,
}

/// The engine of one node.
#[napi]
pub struct NativeEngine {
    inner: Mutex<Option<Arc<Engine>>>,
    search: Mutex<Option<Search>>,
}

impl NativeEngine {
    pub(crate) fn engine(&self) -> Result<Arc<Engine>, Failure> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner
            .clone()
            .ok_or_else(|| Failure::new(Code::Closed, "the engine is closed"))
    }
}

/// A label names one secret of the node; its hash is the blob's id.
fn label_id(label: &str) -> [u8; 32] {
    Transcript::new("cairn/vault/label/v1")
        .field(label.as_bytes())
        .finish()
}

#[napi]
impl NativeEngine {
    /// Opens the vault; throws `vault-locked`, `file-mode`, `file-missing`, `malformed`.
    #[napi(factory)]
    pub fn open(options: EngineOptions) -> Result<Self, Thrown> {
        Ok(guarded(|| {
            let inner = Engine::open(
                &*source(options.key_source)?,
                Path::new(&options.vault_header),
                array32(&options.cluster, "a cluster id")?,
                index(options.node, "this node")?,
                options.threads.map(|threads| threads as usize),
            )?;
            Ok(Self {
                inner: Mutex::new(Some(Arc::new(inner))),
                search: Mutex::new(None),
            })
        })?)
    }

    /// Opens a session; events arrive in order, `done` or `failed` last.
    #[napi]
    pub fn start(&self, options: SessionOptions, callback: SessionCallback) -> Result<NativeSession, Thrown> {
        Ok(guarded(|| {
            let inner = self.engine()?.start(session_spec(options)?, move |event| {
                callback.call(event.into(), ThreadsafeFunctionCallMode::NonBlocking);
            })?;
            Ok(NativeSession { inner })
        })?)
    }

    /// Makes this node's partial from a burned presignature.
    #[napi]
    pub fn issue_partial(&self, options: IssueOptions) -> Result<Buffer, Thrown> {
        Ok(guarded(|| {
            let signers = indices(&options.signers)?;
            let partial = self.engine()?.issue_partial(
                &options.sealed_presignature,
                &IssueRequest {
                    key_ref: key_ref(&options.key_id, options.epoch)?,
                    receipt: BurnReceipt {
                        id: array32(&options.presignature_id, "a presignature's id")?,
                        epoch: counter(options.receipt_epoch, "an epoch")?,
                        burn_counter: counter(options.burn_counter, "a burn counter")?,
                    },
                    path: KeyPath::new(options.change, options.index)?,
                    signers: &signers,
                    preimage: &options.preimage,
                },
            )?;
            Ok(Buffer::from(partial))
        })?)
    }

    /// Seals a secret of the node itself under `label`.
    #[napi]
    pub fn seal(&self, label: String, plain: Uint8Array) -> Result<Buffer, Thrown> {
        Ok(guarded(|| {
            let vault = self.engine()?.vault();
            let sealed = vault.seal(BlobKind::NodeSecret, KeyRef::NONE, &label_id(&label), &plain)?;
            Ok(Buffer::from(sealed))
        })?)
    }

    /// Opens what `seal` made under the same label. Shares, presignatures and primes are of other kinds and never open here.
    #[napi]
    pub fn open_secret(&self, label: String, sealed: Uint8Array) -> Result<Buffer, Thrown> {
        Ok(guarded(|| {
            let vault = self.engine()?.vault();
            let plain = vault.open(BlobKind::NodeSecret, KeyRef::NONE, &label_id(&label), &sealed)?;
            Ok(Buffer::from(plain.to_vec()))
        })?)
    }

    /// Stops the search for primes and lets go of the vault: its key is wiped as soon as the last session has ended.
    #[napi]
    pub fn close(&self) {
        self.stop_generating();
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Searches for `count` primes in the background and hands each over sealed. A search that runs is replaced.
    #[napi]
    pub fn generate_primes(&self, count: u32, threads: u32, callback: PrimeCallback) -> Result<(), Thrown> {
        Ok(guarded(|| {
            let search = Search::start(
                self.engine()?.vault(),
                count.min(1024) as usize,
                threads.clamp(1, 64) as usize,
                move |found| {
                    let event = match found {
                        Ok((id, sealed)) => PrimeEvent {
                            id: Some(id.to_vec().into()),
                            sealed: Some(sealed.into()),
                            failure: None,
                        },
                        Err(failure) => PrimeEvent {
                            id: None,
                            sealed: None,
                            failure: Some(failure.into()),
                        },
                    };
                    callback.call(event, ThreadsafeFunctionCallMode::NonBlocking);
                },
            )?;
            *self.search.lock().unwrap_or_else(PoisonError::into_inner) = Some(search);
            Ok(())
        })?)
    }

    #[napi]
    pub fn stop_generating(&self) {
        self.search.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    #[napi]
    pub fn is_generating(&self) -> bool {
        let search = self.search.lock().unwrap_or_else(PoisonError::into_inner);
        search.as_ref().is_some_and(Search::is_running)
    }
}

/// One session at this node. Dropping it cancels it.
#[napi]
pub struct NativeSession {
    inner: Session<Output>,
}

#[napi]
impl NativeSession {
    /// Hands in a message of an authenticated peer; nodes outside the session are ignored.
    #[napi]
    pub fn receive(&self, from: u32, payload: Uint8Array) -> Result<(), Thrown> {
        Ok(guarded(|| {
            if let Ok(from) = index(from, "the sender") {
                self.inner.receive(from, &payload);
            }
            Ok(())
        })?)
    }

    /// Ends the session at once; idempotent.
    #[napi]
    pub fn cancel(&self) {
        self.inner.cancel();
    }
}

/// Runs on Node's own worker threads.
pub struct Work<T>(Option<Box<dyn FnOnce() -> Result<T, Failure> + Send>>);

impl<T> Work<T> {
    pub(crate) fn new(body: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Self {
        Self(Some(Box::new(body)))
    }

    pub(crate) fn run(&mut self) -> Result<T, Failure> {
        let body = self.0.take();
        guarded(|| body.ok_or_else(|| Failure::internal("a task ran twice"))?())
    }
}

/// A signature, or why there is none.
#[napi(object, object_from_js = false)]
pub struct CombineAnswer {
    pub signature: Option<Buffer>,
    pub failure: Option<FailureObject>,
}

impl NapiTask for Work<[u8; 64]> {
    type Output = Result<[u8; 64], Failure>;
    type JsValue = CombineAnswer;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        Ok(self.run())
    }

    fn resolve(&mut self, _: Env, output: Self::Output) -> napi::Result<CombineAnswer> {
        Ok(match output {
            Ok(signature) => CombineAnswer {
                signature: Some(signature.to_vec().into()),
                failure: None,
            },
            Err(failure) => CombineAnswer {
                signature: None,
                failure: Some(failure.into()),
            },
        })
    }
}

/// Whether a signature is valid, or why that cannot be said.
#[napi(object, object_from_js = false)]
pub struct VerifyAnswer {
    pub valid: Option<bool>,
    pub failure: Option<FailureObject>,
}

impl NapiTask for Work<bool> {
    type Output = Result<bool, Failure>;
    type JsValue = VerifyAnswer;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        Ok(self.run())
    }

    fn resolve(&mut self, _: Env, output: Self::Output) -> napi::Result<VerifyAnswer> {
        Ok(match output {
            Ok(valid) => VerifyAnswer {
                valid: Some(valid),
                failure: None,
            },
            Err(failure) => VerifyAnswer {
                valid: None,
                failure: Some(failure.into()),
            },
        })
    }
}

#[napi(object, object_to_js = false)]
pub struct PartialOptions {
    pub from: u32,
    pub partial: Uint8Array,
}

/// Combines partials and checks them; needs no vault, so that a coordinator can do it too.
#[napi]
pub fn combine(
    public_package: Uint8Array,
    public_data: Uint8Array,
    change: u32,
    path_index: u32,
    preimage: Uint8Array,
    partials: Vec<PartialOptions>,
) -> AsyncTask<Work<[u8; 64]>> {
    let (package, data, preimage) = (public_package.to_vec(), public_data.to_vec(), preimage.to_vec());
    let partials: Vec<_> = partials
        .into_iter()
        .map(|one| (one.from, one.partial.to_vec()))
        .collect();
    AsyncTask::new(Work::new(move || {
        let path = KeyPath::new(change, path_index)?;
        let partials = partials
            .into_iter()
            .map(|(from, partial)| Ok((index(from, "a signer")?, partial)))
            .collect::<Result<Vec<_>, Failure>>()?;
        combine_partials(&PublicPackage::read(&package)?, &data, path, &preimage, &partials)
    }))
}

/// Verifies a signature under the child key at a path.
#[napi]
pub fn verify(
    public_package: Uint8Array,
    change: u32,
    path_index: u32,
    preimage: Uint8Array,
    signature: Uint8Array,
) -> AsyncTask<Work<bool>> {
    let (package, preimage, signature) = (public_package.to_vec(), preimage.to_vec(), signature.to_vec());
    AsyncTask::new(Work::new(move || {
        engine::verify(&package, KeyPath::new(change, path_index)?, &preimage, &signature)
    }))
}

#[napi(object, object_from_js = false)]
pub struct KeyDescription {
    pub protocol: String,
    pub level: String,
    pub public_key: Buffer,
    pub chain_code: Buffer,
    pub threshold: u32,
    pub parties: Vec<u32>,
    pub key_id: Buffer,
    pub epoch: f64,
}

/// What a public package says.
#[napi]
pub fn describe(public_package: Uint8Array) -> Result<KeyDescription, Thrown> {
    Ok(guarded(|| {
        let package = PublicPackage::read(&public_package)?;
        Ok(KeyDescription {
            protocol: package.protocol.name().into(),
            level: LEVEL.name().into(),
            public_key: package.public_key.to_vec().into(),
            chain_code: package.chain_code.to_vec().into(),
            threshold: package.threshold.into(),
            parties: package.parties.iter().map(|&party| party.into()).collect(),
            key_id: package.key_id.to_vec().into(),
            epoch: package.epoch as f64,
        })
    })?)
}
