//! Distributed key generation: commit, echo, open, share.
//!
//! Round 1 commits to everything a party will contribute, round 2 compares what everybody received, round 3 opens. So nobody
//! picks a contribution after seeing another's, all open the same values, and the chain code is nobody's choice.
//! Round 4 hands out the shares, each to one party.

use std::collections::BTreeMap;
use std::sync::Arc;

use frost_secp256k1_tr::keys::VerifiableSecretSharingCommitment;
use frost_secp256k1_tr::keys::dkg::{self, round1, round2};
use frost_secp256k1_tr::{Error, Signature};
use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use zeroize::Zeroizing;

use crate::codec;
use crate::context::{KeyRef, Transcript};
use crate::ecdsa::aux_info::count;
use crate::ecdsa::keygen::NewKey;
use crate::failure::{Code, Failure};
use crate::frame::Slot;
use crate::frost::{failure, identifier, identifiers, key};
use crate::level::LEVEL;
use crate::public_package::{Protocol, PublicPackage, VERSION, is_compressed};
use crate::session::Io;
use crate::vault::Vault;

const COMMIT: Slot = Slot {
    round: 1,
    broadcast: true,
};
const ECHO: Slot = Slot {
    round: 2,
    broadcast: true,
};
const OPEN: Slot = Slot {
    round: 3,
    broadcast: true,
};
const SHARE: Slot = Slot {
    round: 4,
    broadcast: false,
};

/// What round 3 opens.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Opening {
    /// Compressed commitments to the coefficients of the polynomial.
    polynomial: Vec<ByteArray<33>>,
    /// Proof of knowledge of the first coefficient.
    proof: ByteArray<64>,
    chain_code: ByteArray<32>,
    blind: ByteArray<32>,
}

impl Opening {
    fn commitment(&self, context: &[u8; 32], node: u16) -> [u8; 32] {
        self.polynomial
            .iter()
            .fold(
                Transcript::new("cairn/engine/frost-commit/v1")
                    .field(context)
                    .number(node.into())
                    .number(self.polynomial.len() as u64),
                |transcript, point| transcript.field(point.as_slice()),
            )
            .field(self.proof.as_slice())
            .field(self.chain_code.as_slice())
            .field(self.blind.as_slice())
            .finish()
    }
}

pub async fn run<S: Send + 'static>(
    mut io: Io<S>,
    vault: Arc<Vault>,
    key_ref: KeyRef,
    threshold: u16,
) -> Result<NewKey, Failure> {
    let parties = io.parties.clone();
    let me = io.me;
    let context = io.domain.context;
    let nodes = identifiers(&parties)?;

    io.progress(1, "commit to this node's contribution");
    let (secret, package) = dkg::part1(identifier(me)?, count(&parties)?, threshold, OsRng)
        .map_err(|error| failure(&error, &nodes, 1))?;
    let mine = opening(&package).map_err(|error| failure(&error, &nodes, 1))?;
    let my_commitment = mine.commitment(&context, me);
    io.send(None, 0, COMMIT, &my_commitment);

    io.progress(2, "compare what all nodes received");
    let mut commitments = BTreeMap::from([(me, my_commitment)]);
    for (from, body) in io.collect(COMMIT).await? {
        commitments.insert(from, hash(from, &body, 1)?);
    }
    let echo = commitments
        .iter()
        .fold(
            Transcript::new("cairn/engine/frost-echo/v1").field(&context),
            |transcript, (node, commitment)| transcript.number((*node).into()).field(commitment),
        )
        .finish();
    io.send(None, 0, ECHO, &echo);
    for (from, body) in io.collect(ECHO).await? {
        if hash(from, &body, 2)? != echo {
            return Err(Failure::new(
                Code::Equivocation,
                "the parties saw different broadcasts in the first round; no key was made",
            )
            .at_round(2));
        }
    }

    io.progress(3, "open contributions and check proofs of knowledge");
    io.send(None, 0, OPEN, &codec::encode(&mine)?);
    let mut openings = BTreeMap::from([(me, mine)]);
    let mut packages = BTreeMap::new();
    for (from, body) in io.collect(OPEN).await? {
        let (opening, package) = open(from, &body, &context, commitments.get(&from), threshold)?;
        packages.insert(identifier(from)?, package);
        openings.insert(from, opening);
    }
    let (secret, shares) = dkg::part2(secret, &packages).map_err(|error| failure(&error, &nodes, 3))?;

    io.progress(4, "exchange and check shares");
    for (id, share) in shares {
        let to = nodes
            .get(&id)
            .ok_or_else(|| Failure::internal("a share is for nobody"))?;
        let body = Zeroizing::new(share.serialize().map_err(|error| failure(&error, &nodes, 4))?);
        io.send(Some(*to), 0, SHARE, &body);
    }
    let mut received = BTreeMap::new();
    for (from, body) in io.collect(SHARE).await? {
        let refuse =
            || Failure::bad_message(from, 4, format!("node {from} sent a share that does not decode"));
        let share = round2::Package::deserialize(&body).map_err(|_| refuse())?;
        if Zeroizing::new(share.serialize().map_err(|_| refuse())?).as_slice() != body.as_slice() {
            return Err(refuse());
        }
        received.insert(identifier(from)?, share);
    }
    // The crate applies BIP-341's tweak without script path here; the result is the root of the wallet's tr() descriptor.
    let (own, public) =
        dkg::part3(&secret, &packages, &received).map_err(|error| failure(&error, &nodes, 4))?;

    let chain_code = openings
        .iter()
        .fold(
            Transcript::new("cairn/engine/frost-chain-code/v1").field(&context),
            |transcript, (node, opening)| {
                transcript
                    .number((*node).into())
                    .field(opening.chain_code.as_slice())
            },
        )
        .finish();
    let public_shares = parties
        .iter()
        .map(|&node| {
            let share = public
                .verifying_shares()
                .get(&identifier(node)?)
                .ok_or_else(|| Failure::internal("a public share is missing"))?;
            point(share.serialize())
        })
        .collect::<Result<_, Failure>>()?;
    let package = PublicPackage {
        v: VERSION,
        epoch: key_ref.epoch,
        key_id: ByteArray::new(key_ref.key_id),
        level: LEVEL.name().into(),
        aux_hash: None,
        parties,
        protocol: Protocol::Frost,
        chain_code: ByteArray::new(chain_code),
        public_key: point(public.verifying_key().serialize())?,
        threshold,
        public_shares,
    };
    let public_package = package.write()?;
    let sealed_share = key::seal_share(&vault, key_ref, &public_package, own.signing_share())?;
    Ok(NewKey {
        sealed_share,
        public_package,
    })
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

fn hash(from: u16, body: &[u8], round: u8) -> Result<[u8; 32], Failure> {
    body.try_into().map_err(|_| {
        Failure::bad_message(
            from,
            round,
            format!("node {from} sent something other than a hash"),
        )
    })
}

/// A point as the crate writes it: compressed.
fn point(written: Result<Vec<u8>, Error>) -> Result<ByteArray<33>, Failure> {
    written
        .ok()
        .and_then(|bytes| <[u8; 33]>::try_from(bytes).ok())
        .map(ByteArray::new)
        .ok_or_else(|| Failure::internal("a public share or the key is the point at infinity"))
}

/// What this node opens, with its share of the chain code.
fn opening(package: &round1::Package) -> Result<Opening, Error> {
    Ok(Opening {
        polynomial: package
            .commitment()
            .serialize()?
            .into_iter()
            .map(|point| point.try_into().map(ByteArray::new))
            .collect::<Result<_, _>>()
            .map_err(|_| Error::SerializationError)?,
        proof: package
            .proof_of_knowledge()
            .serialize()?
            .try_into()
            .map(ByteArray::new)
            .map_err(|_| Error::SerializationError)?,
        chain_code: ByteArray::new(random()),
        blind: ByteArray::new(random()),
    })
}

/// Checks an opening against its commitment and the agreed threshold.
fn open(
    from: u16,
    body: &[u8],
    context: &[u8; 32],
    commitment: Option<&[u8; 32]>,
    threshold: u16,
) -> Result<(Opening, round1::Package), Failure> {
    let refuse = |why: &str| Failure::bad_message(from, 3, format!("node {from} opened {why}"));
    let opening: Opening = codec::decode(body).map_err(|_| refuse("something that does not decode"))?;
    if commitment != Some(&opening.commitment(context, from)) {
        return Err(refuse("something that it had not committed to"));
    }
    if opening.polynomial.len() != usize::from(threshold) {
        return Err(refuse("a polynomial of another threshold"));
    }
    let package = package(&opening).ok_or_else(|| refuse("a contribution that does not decode"))?;
    Ok((opening, package))
}

/// Points and numbers here have one encoding each, so nothing is encoded again for comparison.
fn package(opening: &Opening) -> Option<round1::Package> {
    if !opening
        .polynomial
        .iter()
        .all(|point| is_compressed(point.as_slice()))
    {
        return None;
    }
    let points = opening.polynomial.iter().map(|point| point.as_slice());
    Some(round1::Package::new(
        VerifiableSecretSharingCommitment::deserialize(points).ok()?,
        Signature::deserialize(opening.proof.as_slice()).ok()?,
    ))
}
