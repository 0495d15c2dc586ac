//! Presigning, and full signing: presigning followed at once by the online round.
//!
//! Full signing does not use the crate's own last round, since that names no culprit; the round below checks every share against
//! the commitments and does.

use std::collections::BTreeMap;
use std::sync::Arc;

use cggmp24::ExecutionId;
use cggmp24::round_based::{Outgoing, PartyIndex};
use cggmp24::signing::msg::MsgRound4;
use cggmp24::signing::{PartialSignature, Presignature, PresignaturePublicData};
use futures::StreamExt;
use rand_core::OsRng;

use crate::child::KeyPath;
use crate::context::KeyRef;
use crate::ecdsa::lanes::Lane;
use crate::ecdsa::partial::{PublicData, combine, data_to_sign, seal_presignature};
use crate::ecdsa::share::Share;
use crate::ecdsa::{Curve, SignMsg, blame, lanes};
use crate::failure::{Code, Failure};
use crate::public_package::position;
use crate::session::{Io, closed};
use crate::vault::Vault;

/// One presignature to make: its id, and the path it will be good for.
#[derive(Clone, Copy, Debug)]
pub struct PresignItem {
    pub id: [u8; 32],
    pub path: KeyPath,
}

/// A presignature of this node.
pub struct MadePresignature {
    pub id: [u8; 32],
    pub sealed: Vec<u8>,
    pub public_data: Vec<u8>,
}

/// One message to sign.
#[derive(Clone, Debug)]
pub struct SignItem {
    pub path: KeyPath,
    pub preimage: Vec<u8>,
}

/// Makes one presignature an item.
pub async fn presign<S: Send + 'static>(
    mut io: Io<S>,
    vault: Arc<Vault>,
    key_ref: KeyRef,
    share: Arc<Share>,
    items: Vec<PresignItem>,
) -> Result<Vec<MadePresignature>, Failure> {
    let signers = io.parties.clone();
    let context = io.domain.context;
    let me = io.me;
    lanes::run(&mut io, |lane: Lane<SignMsg>| {
        let (share, vault, signers) = (Arc::clone(&share), Arc::clone(&vault), signers.clone());
        let item = items.get(usize::from(lane.item)).copied();
        async move {
            let item = item.ok_or_else(|| Failure::internal("a lane has no item"))?;
            let (presignature, commitments, _) =
                half(lane, &share, &signers, me, &context, item.path).await?;
            let data = PublicData::new(
                key_ref,
                item.id,
                &signers,
                item.path,
                &share.package,
                &commitments,
            )?;
            let public_data = data.write()?;
            let sealed = seal_presignature(&vault, &data, &public_data, presignature)?;
            Ok(MadePresignature {
                id: item.id,
                sealed,
                public_data,
            })
        }
    })
    .await
}

/// Signs every item, each with nonces of its own, and verifies every signature under its child key.
pub async fn sign<S: Send + 'static>(
    mut io: Io<S>,
    key_ref: KeyRef,
    share: Arc<Share>,
    items: Vec<SignItem>,
) -> Result<Vec<[u8; 64]>, Failure> {
    let signers = io.parties.clone();
    let context = io.domain.context;
    let me = io.me;
    let items = Arc::new(items);
    lanes::run(&mut io, |lane: Lane<SignMsg>| {
        let (share, signers, items) = (Arc::clone(&share), signers.clone(), Arc::clone(&items));
        async move {
            let item = items
                .get(usize::from(lane.item))
                .ok_or_else(|| Failure::internal("a lane has no item"))?;
            let (presignature, commitments, rest) =
                half(lane, &share, &signers, me, &context, item.path).await?;
            let data = PublicData::new(
                key_ref,
                [0; 32],
                &signers,
                item.path,
                &share.package,
                &commitments,
            )?;
            let mine = presignature.issue_partial_signature(data_to_sign(&item.preimage));
            online(rest, &share, &data, &signers, me, item, mine).await
        }
    })
    .await
}

/// What a lane still has after presigning.
struct Rest {
    sink: lanes::LaneSink<SignMsg>,
    online: futures::channel::mpsc::UnboundedReceiver<(PartyIndex, SignMsg)>,
}

async fn half(
    lane: Lane<SignMsg>,
    share: &Share,
    signers: &[u16],
    me: u16,
    context: &[u8; 32],
    path: KeyPath,
) -> Result<(Presignature<Curve>, PresignaturePublicData<Curve>, Rest), Failure> {
    let Lane {
        item,
        party,
        sink,
        online,
        mut tracer,
    } = lane;
    let i = position(signers, me)?;
    let at_keygen: Vec<PartyIndex> = signers
        .iter()
        .map(|&node| share.package.position(node))
        .collect::<Result<_, _>>()?;
    let eid = [context.as_slice(), &item.to_be_bytes()].concat();
    let (presignature, commitments) = cggmp24::signing(ExecutionId::new(&eid), i, &at_keygen, &share.key)
        .set_derivation_path(path.steps())
        .map_err(|_| Failure::internal("the share has no chain code to derive with"))?
        .enforce_reliable_broadcast(true)
        .set_progress_tracer(&mut tracer)
        .generate_presignature(&mut OsRng, party)
        .await
        .map_err(|error| blame::failure(&error, signers))?;
    Ok((presignature, commitments, Rest { sink, online }))
}

async fn online(
    mut rest: Rest,
    share: &Share,
    data: &PublicData,
    signers: &[u16],
    me: u16,
    item: &SignItem,
    mine: PartialSignature<Curve>,
) -> Result<[u8; 64], Failure> {
    rest.sink
        .send_now(&Outgoing::broadcast(SignMsg::Round4(MsgRound4 {
            partial_sig: mine,
        })))?;
    let mut partials = BTreeMap::from([(me, mine.sigma)]);
    while partials.len() < signers.len() {
        let (from, message) = rest.online.next().await.ok_or_else(closed)?;
        let node = signers
            .get(usize::from(from))
            .ok_or_else(|| Failure::internal("a message came from nobody"))?;
        let SignMsg::Round4(MsgRound4 { partial_sig }) = message else {
            return Err(Failure::bad_message(
                *node,
                5,
                "the online round carries partials only",
            ));
        };
        partials.insert(*node, partial_sig.sigma);
    }
    combine(&share.package, data, item.path, &item.preimage, &partials).map_err(|failure| {
        let code = match failure.code {
            Code::InvalidPartial => Code::InvalidRoundMessage,
            other => other,
        };
        Failure {
            code,
            ..failure.at_round(5)
        }
    })
}
