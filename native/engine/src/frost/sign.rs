//! Two-round signing of several messages at once. Nonces live in this future only: made in round 1, consumed in round 2.

use std::collections::BTreeMap;
use std::sync::Arc;

use frost_secp256k1_tr::round1::{self, NonceCommitment, SigningCommitments, SigningNonces};
use frost_secp256k1_tr::round2::{self, SignatureShare};
use frost_secp256k1_tr::{Identifier, SigningPackage, aggregate};
use rand_core::OsRng;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::codec;
use crate::context::Transcript;
use crate::ecdsa::sign::SignItem;
use crate::failure::{Code, Failure};
use crate::frame::Slot;
use crate::frost::key::{Share, tap_sighash};
use crate::frost::{failure, identifier, identifiers};
use crate::public_package::is_compressed;
use crate::session::Io;

const COMMIT: Slot = Slot {
    round: 1,
    broadcast: true,
};
const SHARE: Slot = Slot {
    round: 2,
    broadcast: true,
};

/// Shares of all items, with the hash of the commitments that they were made for.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shares {
    seen: ByteArray<32>,
    shares: Vec<ByteArray<32>>,
}

/// Signs every item and aggregates at this node, which verifies every signature under the child's taproot output key.
pub async fn run<S: Send + 'static>(
    mut io: Io<S>,
    share: Arc<Share>,
    items: Vec<SignItem>,
) -> Result<Vec<[u8; 64]>, Failure> {
    let me = io.me;
    let signers = io.parties.clone();
    let nodes = identifiers(&signers)?;

    io.progress(1, "commit to nonces");
    let secret = share.signing_share()?;
    let mut nonces: Vec<SigningNonces> = Vec::with_capacity(items.len());
    let mut mine: Vec<SigningCommitments> = Vec::with_capacity(items.len());
    for _ in &items {
        let (nonce, commitment) = round1::commit(&secret, &mut OsRng);
        nonces.push(nonce);
        mine.push(commitment);
    }
    let my_body = write_commitments(&mine)?;
    io.send(None, 0, COMMIT, &my_body);
    let mut bodies: BTreeMap<u16, Vec<u8>> = BTreeMap::from([(me, my_body)]);
    let mut commitments = BTreeMap::from([(me, mine)]);
    for (from, body) in io.collect(COMMIT).await? {
        commitments.insert(from, read_commitments(from, &body, items.len())?);
        bodies.insert(from, body.to_vec());
    }

    io.progress(2, "sign and check the shares");
    let seen = bodies
        .iter()
        .fold(
            Transcript::new("cairn/engine/frost-commitments/v1").field(&io.domain.context),
            |transcript, (node, body)| transcript.number((*node).into()).field(body),
        )
        .finish();
    let packages = (0..items.len())
        .map(|at| {
            let of_item = commitments
                .iter()
                .map(|(&node, list)| {
                    let commitment = list
                        .get(at)
                        .ok_or_else(|| Failure::internal("a commitment is missing"))?;
                    Ok((identifier(node)?, *commitment))
                })
                .collect::<Result<BTreeMap<Identifier, _>, Failure>>()?;
            Ok(SigningPackage::new(of_item, &tap_sighash(&items[at].preimage)))
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let mut my_shares = Vec::with_capacity(items.len());
    let mut publics = Vec::with_capacity(items.len());
    for ((item, nonce), package) in items.iter().zip(nonces).zip(&packages) {
        let child = share.child(item.path)?;
        let made = round2::sign(package, &nonce, &child.own).map_err(|error| failure(&error, &nodes, 2))?;
        drop(nonce);
        my_shares.push(made);
        publics.push(child.public);
    }
    io.send(
        None,
        0,
        SHARE,
        &codec::encode(&Shares {
            seen: ByteArray::new(seen),
            shares: my_shares.iter().map(write_share).collect::<Result<_, _>>()?,
        })?,
    );
    let mut shares = BTreeMap::from([(me, my_shares)]);
    let mut split = false;
    for (from, body) in io.collect(SHARE).await? {
        let (their_seen, list) = read_shares(from, &body, items.len())?;
        split |= their_seen != seen;
        shares.insert(from, list);
    }
    if split {
        // A share over other commitments fails the check below although its maker may be honest.
        return Err(Failure::new(
            Code::Equivocation,
            "the signers saw different nonce commitments; the session ended without a signature",
        )
        .at_round(2));
    }

    let mut signatures = Vec::with_capacity(items.len());
    for (at, (public, package)) in publics.iter().zip(&packages).enumerate() {
        let of_item = shares
            .iter()
            .map(|(&node, list)| {
                let made = list
                    .get(at)
                    .ok_or_else(|| Failure::internal("a share is missing"))?;
                Ok((identifier(node)?, *made))
            })
            .collect::<Result<BTreeMap<Identifier, SignatureShare>, Failure>>()?;
        // Verifies what it makes under the output key, and names whose share is wrong where that fails.
        let signature = aggregate(package, &of_item, public).map_err(|error| failure(&error, &nodes, 2))?;
        let bytes = signature
            .serialize()
            .map_err(|error| failure(&error, &nodes, 2))?;
        signatures.push(
            <[u8; 64]>::try_from(bytes.as_slice())
                .map_err(|_| Failure::internal("a BIP-340 signature is not 64 bytes"))?,
        );
    }
    Ok(signatures)
}

/// Hiding and binding nonce commitment of an item, as compressed points.
type Commitments = ByteArray<66>;

fn write_commitments(list: &[SigningCommitments]) -> Result<Vec<u8>, Failure> {
    let write = |c: &SigningCommitments| {
        let both = [c.hiding().serialize().ok()?, c.binding().serialize().ok()?].concat();
        <[u8; 66]>::try_from(both).ok().map(Commitments::new)
    };
    let bytes = list
        .iter()
        .map(write)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Failure::internal("own commitments do not encode"))?;
    Ok(codec::encode(&bytes)?)
}

fn read_commitments(from: u16, body: &[u8], items: usize) -> Result<Vec<SigningCommitments>, Failure> {
    let refuse = |why: &str| Failure::bad_message(from, 1, format!("node {from} sent {why}"));
    let list: Vec<Commitments> = codec::decode(body).map_err(|_| refuse("commitments that do not decode"))?;
    if list.len() != items {
        return Err(refuse("commitments for another number of items"));
    }
    let read = |bytes: &[u8]| {
        is_compressed(bytes)
            .then(|| NonceCommitment::deserialize(bytes).ok())
            .flatten()
            .ok_or_else(|| refuse("a commitment that does not decode"))
    };
    list.iter()
        .map(|both| {
            let (hiding, binding) = both.split_at(33);
            Ok(SigningCommitments::new(read(hiding)?, read(binding)?))
        })
        .collect()
}

fn write_share(share: &SignatureShare) -> Result<ByteArray<32>, Failure> {
    <[u8; 32]>::try_from(share.serialize().as_slice())
        .map(ByteArray::new)
        .map_err(|_| Failure::internal("a signature share is not 32 bytes"))
}

fn read_shares(from: u16, body: &[u8], items: usize) -> Result<([u8; 32], Vec<SignatureShare>), Failure> {
    let refuse = |why: &str| Failure::bad_message(from, 2, format!("node {from} sent {why}"));
    let read: Shares = codec::decode(body).map_err(|_| refuse("shares that do not decode"))?;
    if read.shares.len() != items {
        return Err(refuse("shares for another number of items"));
    }
    let shares = read
        .shares
        .iter()
        .map(|bytes| {
            SignatureShare::deserialize(bytes.as_slice()).map_err(|_| refuse("a share that is not a scalar"))
        })
        .collect::<Result<_, _>>()?;
    Ok((read.seen.into_array(), shares))
}
