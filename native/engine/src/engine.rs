//! One node's engine: its vault, its memory of what was used, and the sessions it opens.

use std::path::Path;
use std::sync::Arc;

use futures::executor::ThreadPool;

use crate::child::KeyPath;
use crate::context::{ItemRef, KeyRef, context};
use crate::ecdsa::keygen::NewKey;
use crate::ecdsa::partial::IssueRequest;
use crate::ecdsa::sign::{MadePresignature, PresignItem, SignItem};
use crate::ecdsa::{self};
use crate::executor;
use crate::failure::{Code, Failure};
use crate::frame::{FrameDomain, Kind};
use crate::frost;
use crate::frost::opened_shares::OpenedShares;
use crate::key_source::{KeySource, open_vault};
use crate::primes::{self, pool::SealedPrime};
use crate::public_package::{Protocol, PublicPackage, check_parties, check_threshold, position};
use crate::receipts::Receipts;
use crate::session::{self, Event, Session};
use crate::vault::Vault;

/// Items of one session; a batch of presignatures is ten.
const MAX_ITEMS: usize = 512;
/// Longest preimage: a BIP-143 preimage has under 300 bytes plus its script.
const MAX_PREIMAGE: usize = 128 * 1024;

/// What a session works on.
pub enum Task {
    EcdsaAux {
        primes: Vec<SealedPrime>,
    },
    EcdsaKeygen {
        key: KeyRef,
        threshold: u16,
        sealed_aux: Vec<u8>,
    },
    FrostKeygen {
        key: KeyRef,
        threshold: u16,
    },
    EcdsaPresign {
        key: KeyRef,
        sealed_share: Vec<u8>,
        items: Vec<PresignItem>,
    },
    EcdsaSign {
        key: KeyRef,
        sealed_share: Vec<u8>,
        items: Vec<SignItem>,
    },
    FrostSign {
        key: KeyRef,
        sealed_share: Vec<u8>,
        items: Vec<SignItem>,
    },
}

/// A session to open: `parties` are all parties or the signers, ascending, this node among them.
pub struct Spec {
    pub execution_id: [u8; 32],
    pub me: u16,
    pub parties: Vec<u16>,
    pub task: Task,
}

/// What a session made.
pub enum Output {
    Aux(Vec<u8>),
    Key(NewKey),
    Presignatures(Vec<MadePresignature>),
    Signatures(Vec<[u8; 64]>),
}

pub struct Engine {
    vault: Arc<Vault>,
    cluster: [u8; 32],
    opened: Arc<OpenedShares>,
    receipts: Receipts,
    pool: ThreadPool,
    node: u16,
}

impl Engine {
    /// Opens the vault of `node` in `cluster` and the pool of threads.
    ///
    /// # Errors
    /// Those of the key source and of the vault.
    pub fn open(
        source: &dyn KeySource,
        header: &Path,
        cluster: [u8; 32],
        node: u16,
        threads: Option<usize>,
    ) -> Result<Self, Failure> {
        if !(1..=255).contains(&node) {
            return Err(Failure::malformed("a node index is from 1 to 255"));
        }
        Ok(Self {
            vault: Arc::new(open_vault(source, header, cluster, node)?),
            cluster,
            opened: Arc::default(),
            receipts: Receipts::default(),
            pool: executor::pool(threads)?,
            node,
        })
    }

    pub fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.vault)
    }

    /// The cluster and the node whose vault this is.
    pub fn owner(&self) -> ([u8; 32], u16) {
        (self.cluster, self.node)
    }

    /// Opens a session; its events go to `sink`.
    ///
    /// # Errors
    /// `malformed` for a spec that contradicts itself, `busy`.
    pub fn start(
        &self,
        spec: Spec,
        sink: impl Fn(Event<Output>) + Send + 'static,
    ) -> Result<Session<Output>, Failure> {
        let Spec {
            execution_id,
            me,
            parties,
            task,
        } = spec;
        check_parties(&parties)?;
        position(&parties, me)?;
        if me != self.node {
            return Err(Failure::malformed(
                "a session runs for this engine's own node only",
            ));
        }
        check_task(&task, &parties)?;
        let domain = domain(&task, execution_id, &parties);
        let (vault, opened) = (self.vault(), Arc::clone(&self.opened));
        session::start(
            self.pool.clone(),
            domain,
            me,
            parties,
            sink,
            move |io| async move {
                let me = io.me;
                match task {
                    Task::EcdsaAux { primes } => {
                        let primes = primes::open_four(&vault, &primes)?;
                        ecdsa::aux_info::run(io, vault, primes).await.map(Output::Aux)
                    }
                    Task::EcdsaKeygen {
                        key,
                        threshold,
                        sealed_aux,
                    } => {
                        let aux = ecdsa::share::open_aux(&vault, &io.parties, &sealed_aux)?;
                        ecdsa::keygen::run(io, vault, key, threshold, aux)
                            .await
                            .map(Output::Key)
                    }
                    Task::FrostKeygen { key, threshold } => frost::keygen::run(io, vault, key, threshold)
                        .await
                        .map(Output::Key),
                    Task::EcdsaPresign {
                        key,
                        sealed_share,
                        items,
                    } => {
                        let share = ecdsa::share::open_share(&vault, key, me, &sealed_share)?;
                        check_signers(&share.package, &io.parties)?;
                        ecdsa::sign::presign(io, vault, key, Arc::new(share), items)
                            .await
                            .map(Output::Presignatures)
                    }
                    Task::EcdsaSign {
                        key,
                        sealed_share,
                        items,
                    } => {
                        let share = ecdsa::share::open_share(&vault, key, me, &sealed_share)?;
                        check_signers(&share.package, &io.parties)?;
                        ecdsa::sign::sign(io, key, Arc::new(share), items)
                            .await
                            .map(Output::Signatures)
                    }
                    Task::FrostSign {
                        key,
                        sealed_share,
                        items,
                    } => {
                        let share = opened.open(&vault, key, me, &sealed_share)?;
                        check_signers(&share.package, &io.parties)?;
                        frost::sign::run(io, share, items).await.map(Output::Signatures)
                    }
                }
            },
        )
    }

    /// Makes this node's partial from a presignature whose burn the receipt proves.
    ///
    /// # Errors
    /// `presignature-used`, `presignature-mismatch`, `sealed-blob-invalid`.
    pub fn issue_partial(&self, sealed: &[u8], request: &IssueRequest<'_>) -> Result<Vec<u8>, Failure> {
        check_preimage(request.preimage)?;
        ecdsa::partial::issue(&self.vault, &self.receipts, sealed, request)
    }
}

/// Whether `signature` is this key's at `path` for `preimage`.
pub fn verify(
    public_package: &[u8],
    path: KeyPath,
    preimage: &[u8],
    signature: &[u8],
) -> Result<bool, Failure> {
    let package = PublicPackage::read(public_package)?;
    match package.protocol {
        Protocol::Cggmp24 => ecdsa::partial::verify(&package, path, preimage, signature),
        Protocol::Frost => frost::key::verify(&package, path, preimage, signature),
    }
}

fn check_signers(package: &PublicPackage, signers: &[u16]) -> Result<(), Failure> {
    let fits = signers.len() == usize::from(package.threshold)
        && signers.iter().all(|signer| package.parties.contains(signer));
    if fits {
        Ok(())
    } else {
        Err(Failure::malformed(format!(
            "exactly {} parties of the key must sign",
            package.threshold
        )))
    }
}

fn check_preimage(preimage: &[u8]) -> Result<(), Failure> {
    if preimage.is_empty() || preimage.len() > MAX_PREIMAGE {
        return Err(Failure::malformed("a preimage has 1 to 131072 bytes"));
    }
    Ok(())
}

fn check_task(task: &Task, parties: &[u16]) -> Result<(), Failure> {
    let count = |items: usize| {
        if (1..=MAX_ITEMS).contains(&items) {
            Ok(())
        } else {
            Err(Failure::malformed(format!(
                "a session has 1 to {MAX_ITEMS} items"
            )))
        }
    };
    match task {
        Task::EcdsaAux { primes } if primes.len() != 4 => Err(Failure::new(
            Code::NoPrimes,
            "a node needs four safe primes; wait until enough are generated",
        )),
        Task::EcdsaAux { .. } => Ok(()),
        Task::EcdsaKeygen { threshold, .. } | Task::FrostKeygen { threshold, .. } => {
            check_threshold(*threshold, parties.len())
        }
        Task::EcdsaPresign { items, .. } => {
            count(items.len())?;
            let ids: std::collections::HashSet<_> = items.iter().map(|item| item.id).collect();
            if ids.len() == items.len() {
                Ok(())
            } else {
                Err(Failure::malformed("two presignatures of one session share an id"))
            }
        }
        Task::EcdsaSign { items, .. } | Task::FrostSign { items, .. } => {
            count(items.len())?;
            items.iter().try_for_each(|item| check_preimage(&item.preimage))
        }
    }
}

fn domain(task: &Task, execution_id: [u8; 32], parties: &[u16]) -> FrameDomain {
    let signed = |items: &[SignItem]| {
        items
            .iter()
            .map(|item| (item.path, [0; 32], item.preimage.clone()))
            .collect::<Vec<_>>()
    };
    let (kind, key, threshold, lanes, items) = match task {
        Task::EcdsaAux { .. } => (Kind::EcdsaAux, KeyRef::NONE, 0, 1, Vec::new()),
        Task::EcdsaKeygen { key, threshold, .. } => (Kind::EcdsaKeygen, *key, *threshold, 1, Vec::new()),
        Task::FrostKeygen { key, threshold } => (Kind::FrostKeygen, *key, *threshold, 1, Vec::new()),
        Task::EcdsaPresign { key, items, .. } => {
            let refs = items
                .iter()
                .map(|item| (item.path, item.id, Vec::new()))
                .collect();
            (Kind::EcdsaPresign, *key, 0, items.len(), refs)
        }
        Task::EcdsaSign { key, items, .. } => (Kind::EcdsaSign, *key, 0, items.len(), signed(items)),
        // FROST carries all items in the same two messages.
        Task::FrostSign { key, items, .. } => (Kind::FrostSign, *key, 0, 1, signed(items)),
    };
    let context = context(
        kind,
        &execution_id,
        key,
        parties,
        threshold,
        items.iter().map(|(path, id, preimage)| ItemRef {
            path: *path,
            id,
            preimage,
        }),
    );
    FrameDomain {
        kind,
        execution_id,
        context,
        items: u16::try_from(lanes).unwrap_or(u16::MAX),
    }
}

/// Fields that arrive as bytes from outside.
pub fn array32(bytes: &[u8], what: &str) -> Result<[u8; 32], Failure> {
    bytes
        .try_into()
        .map_err(|_| Failure::malformed(format!("{what} has 32 bytes")))
}
