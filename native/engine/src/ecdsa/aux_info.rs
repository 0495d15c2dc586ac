//! Auxiliary information: each node's Paillier and ring-Pedersen parameters with their proofs.

use std::sync::Arc;

use cggmp24::PregeneratedPrimes;
use cggmp24::backend::Integer;
use cggmp24::key_share::AuxInfo;
use rand_core::OsRng;

use crate::ecdsa::{AuxMsg, blame, lanes, share};
use crate::failure::Failure;
use crate::level::Security;
use crate::public_package::position;
use crate::session::Io;
use crate::vault::Vault;

/// Runs the protocol with this node's four safe primes and returns the sealed result.
pub async fn run<S: Send + 'static>(
    mut io: Io<S>,
    vault: Arc<Vault>,
    primes: [Integer; 4],
) -> Result<Vec<u8>, Failure> {
    let parties = io.parties.clone();
    let i = position(&parties, io.me)?;
    let n = count(&parties)?;
    let eid = io.domain.context;
    let pregenerated = PregeneratedPrimes::<Security>::try_from(primes)
        .map_err(|_| Failure::internal("a prime is too short for this security level"))?;
    let mut pregenerated = Some(pregenerated);
    let blamed = parties.clone();
    let mut made = lanes::run(&mut io, |lane: lanes::Lane<AuxMsg>| {
        let pregenerated = pregenerated.take();
        let parties = blamed.clone();
        async move {
            let pregenerated =
                pregenerated.ok_or_else(|| Failure::internal("auxiliary sessions have one item"))?;
            let mut tracer = lane.tracer;
            cggmp24::aux_info_gen(cggmp24::ExecutionId::new(&eid), i, n, pregenerated)
                .enforce_reliable_broadcast(true)
                .set_progress_tracer(&mut tracer)
                .start(&mut OsRng, lane.party)
                .await
                .map_err(|error| blame::failure(&error, &parties))
        }
    })
    .await?;
    let aux: AuxInfo<Security> = made
        .pop()
        .ok_or_else(|| Failure::internal("the auxiliary session made nothing"))?;
    share::seal_aux(&vault, &parties, &aux)
}

/// Number of parties as the crate wants it.
pub fn count(parties: &[u16]) -> Result<u16, Failure> {
    u16::try_from(parties.len()).map_err(|_| Failure::malformed("there are too many parties"))
}
