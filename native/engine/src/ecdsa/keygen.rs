//! Distributed key generation with a chain code to which every party contributes.

use std::sync::Arc;

use cggmp24::generic_ec::NonZero;
use cggmp24::{ExecutionId, IncompleteKeyShare};
use rand_core::OsRng;
use serde_bytes::ByteArray;

use crate::context::KeyRef;
use crate::ecdsa::aux_info::count;
use crate::ecdsa::share::{self, OwnAux};
use crate::ecdsa::{Curve, KeygenMsg, blame, lanes};
use crate::failure::Failure;
use crate::level::{LEVEL, Security};
use crate::public_package::{Protocol, PublicPackage, VERSION, position, write_point};
use crate::session::Io;
use crate::vault::Vault;

/// A new key: this node's sealed share and what everybody may know.
pub struct NewKey {
    pub sealed_share: Vec<u8>,
    pub public_package: Vec<u8>,
}

pub async fn run<S: Send + 'static>(
    mut io: Io<S>,
    vault: Arc<Vault>,
    key_ref: KeyRef,
    threshold: u16,
    aux: OwnAux,
) -> Result<NewKey, Failure> {
    let parties = io.parties.clone();
    let i = position(&parties, io.me)?;
    let n = count(&parties)?;
    let eid = io.domain.context;
    let blamed = parties.clone();
    let mut made = lanes::run(&mut io, |lane: lanes::Lane<KeygenMsg>| {
        let parties = blamed.clone();
        async move {
            let mut tracer = lane.tracer;
            cggmp24::keygen::<Curve>(ExecutionId::new(&eid), i, n)
                .set_security_level::<Security>()
                .set_threshold(threshold)
                .hd_wallet(true)
                .enforce_reliable_broadcast(true)
                .set_progress_tracer(&mut tracer)
                .start(&mut OsRng, lane.party)
                .await
                .map_err(|error| blame::failure(&error, &parties))
        }
    })
    .await?;
    let core: IncompleteKeyShare<Curve> = made
        .pop()
        .ok_or_else(|| Failure::internal("key generation made nothing"))?;
    let chain_code = core
        .chain_code
        .ok_or_else(|| Failure::internal("key generation agreed on no chain code"))?;
    let package = PublicPackage {
        v: VERSION,
        epoch: key_ref.epoch,
        key_id: ByteArray::new(key_ref.key_id),
        level: LEVEL.name().into(),
        aux_hash: Some(ByteArray::new(aux.hash)),
        parties,
        protocol: Protocol::Cggmp24,
        chain_code: ByteArray::new(chain_code),
        public_key: write_point(&core.shared_public_key)?,
        threshold,
        public_shares: core
            .public_shares
            .iter()
            .map(|point: &NonZero<_>| write_point(point))
            .collect::<Result<_, _>>()?,
    };
    let public_package = package.write()?;
    let sealed_share = share::seal_share(&vault, key_ref, &public_package, core, aux)?;
    Ok(NewKey {
        sealed_share,
        public_package,
    })
}
