//! What a malicious party can try while auxiliary information is made, at a level small enough to run quickly.

use std::sync::atomic::AtomicBool;

use cairn_engine::ecdsa::blame;
use cairn_engine::failure::{Code, Failure};
use cairn_engine::primes::sieve::safe_prime;
use cggmp24::backend::{Integer, IsPrime};
use cggmp24::define_security_level;
use cggmp24::key_share::AuxInfo;
use cggmp24::round_based::{Incoming, MessageDestination, MessageType, MpcParty, Outgoing};
use cggmp24::security_level::SecurityLevel;
use cggmp24::{ExecutionId, PregeneratedPrimes, key_refresh};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::executor::block_on;
use futures::{SinkExt, StreamExt};
use paillier_zk::{no_small_factor, paillier_blum_modulus};
use rand_core::OsRng;
use serde::Deserialize;
use sha2::Sha256;

const N: u16 = 3;
/// Protocol index and node index of the malicious party.
const LIAR: u16 = 2;
const NODES: [u16; 3] = [1, 2, 5];

/// Parameters of the reduced level; only the least length of primes and moduli differs.
macro_rules! level {
    ($name:ident, $prime:expr, $modulus:expr) => {
        #[derive(Clone)]
        struct $name;
        define_security_level!($name {
            kappa_bits: 256,
            rsa_prime_bitlen: $prime,
            rsa_pubkey_bitlen: $modulus,
            epsilon: 384,
            ell: 256,
            ell_prime: 640,
            m: 128,
        });
    };
}

level!(Honest, 640, 1279);
level!(Short, 512, 1023);
level!(Lopsided, 40, 1279);

type Msg<L> = key_refresh::Msg<Sha256, L>;

enum Note {
    Sent {
        from: u16,
        to: MessageDestination,
        body: Vec<u8>,
    },
    Ended {
        party: u16,
        failure: Option<Failure>,
    },
}

type Inbox = UnboundedReceiver<Incoming<Vec<u8>>>;

fn encode<L: SecurityLevel>(message: &Msg<L>) -> Vec<u8> {
    let mut out = Vec::new();
    ciborium::into_writer(message, &mut out).unwrap();
    out
}

fn party<L: SecurityLevel>(i: u16, primes: [Integer; 4], inbox: Inbox, notes: UnboundedSender<Note>) {
    let primes = PregeneratedPrimes::<L>::try_from(primes).unwrap();
    let incoming = inbox.map(|incoming| {
        Ok::<_, std::convert::Infallible>(
            incoming.map(|body: Vec<u8>| ciborium::from_reader::<Msg<L>, _>(body.as_slice()).unwrap()),
        )
    });
    let outgoing = notes.clone().with(move |message: Outgoing<Msg<L>>| {
        futures::future::ready(Ok::<_, futures::channel::mpsc::SendError>(Note::Sent {
            from: i,
            to: message.recipient,
            body: encode(&message.msg),
        }))
    });
    let result: Result<AuxInfo<L>, _> = block_on(
        cggmp24::aux_info_gen::<L>(ExecutionId::new(b"attacks"), i, N, primes).start(
            &mut OsRng,
            MpcParty::connected((Box::pin(incoming), Box::pin(outgoing))),
        ),
    );
    let failure = result.err().map(|error| blame::failure(&error, &NODES));
    // Nobody listens any more once the first party has ended.
    let _ = notes.unbounded_send(Note::Ended { party: i, failure });
}

/// Runs three parties, the last of them at level `L` with `primes`; `tamper` may alter what the last one sends. Answers how the first
/// party ended.
fn run<L: SecurityLevel>(primes: [Integer; 4], mut tamper: impl FnMut(&mut Vec<u8>)) -> Result<(), Failure> {
    let (notes, mut heard) = unbounded();
    let mut inboxes = Vec::new();
    for i in 0..N {
        let (to, inbox) = unbounded();
        inboxes.push(to);
        let notes = notes.clone();
        let primes = primes.clone();
        std::thread::spawn(move || {
            if i == LIAR {
                party::<L>(i, primes, inbox, notes);
            } else {
                party::<Honest>(i, safe_primes(640), inbox, notes);
            }
        });
    }
    drop(notes);
    let mut id = 0;
    while let Some(note) = block_on(heard.next()) {
        match note {
            Note::Sent { from, to, mut body } => {
                if from == LIAR {
                    tamper(&mut body);
                }
                let (receivers, msg_type) = match to {
                    MessageDestination::AllParties => ((0..N).collect::<Vec<_>>(), MessageType::Broadcast),
                    MessageDestination::OneParty(one) => (vec![one], MessageType::P2P),
                };
                for receiver in receivers.into_iter().filter(|&receiver| receiver != from) {
                    id += 1;
                    let incoming = Incoming {
                        id,
                        sender: from,
                        msg_type,
                        msg: body.clone(),
                    };
                    // A party that ended early no longer listens.
                    let _ = inboxes[usize::from(receiver)].unbounded_send(incoming);
                }
            }
            Note::Ended { party: 0, failure } => return failure.map_or(Ok(()), Err),
            Note::Ended { .. } => {}
        }
    }
    panic!("the first party never ended");
}

fn safe_primes(bits: u32) -> [Integer; 4] {
    [(); 4].map(|()| safe_prime(bits, &mut OsRng, &AtomicBool::new(false)).unwrap())
}

/// A prime ≡ 3 (mod 4), which is all that Π_mod asks of a factor.
fn blum_prime(bits: u32) -> Integer {
    loop {
        let mut p = Integer::random_bits(bits, &mut OsRng);
        p.set_bit(bits - 1, true).set_bit(0, true).set_bit(1, true);
        if p.is_probably_prime(25, &mut OsRng) != IsPrime::No {
            return p;
        }
    }
}

fn refused(result: Result<(), Failure>, round: u8) {
    let failure = result.unwrap_err();
    assert_eq!(
        (failure.code, failure.round, failure.blamed.as_slice()),
        (
            Code::InvalidRoundMessage,
            round,
            [NODES[usize::from(LIAR)]].as_slice()
        ),
        "{}",
        failure.message,
    );
}

/// Alters a digit of the first big number after the text `field`.
fn alter(body: &mut [u8], field: &str) {
    let find = |needle: &[u8], from: usize| {
        body[from..]
            .windows(needle.len())
            .position(|window| window == needle)
            .map(|at| from + at)
    };
    let Some(start) = find(field.as_bytes(), 0) else {
        return;
    };
    let at = find(b"value", start).unwrap() + 20;
    body[at] = if body[at] == b'1' { b'2' } else { b'1' };
}

#[test]
fn a_malformed_proof_of_the_modulus_is_rejected() {
    refused(
        run::<Honest>(safe_primes(640), |body| alter(body, "mod_proof")),
        4,
    );
}

#[test]
fn a_malformed_proof_of_no_small_factor_is_rejected() {
    refused(
        run::<Honest>(safe_primes(640), |body| alter(body, "fac_proof")),
        4,
    );
}

#[test]
fn parameters_that_were_not_committed_to_are_rejected() {
    refused(run::<Honest>(safe_primes(640), |body| alter(body, "hat_N")), 3);
}

#[test]
fn a_short_modulus_is_rejected() {
    refused(run::<Short>(safe_primes(512), |_| ()), 3);
}

#[test]
fn a_modulus_with_a_small_factor_is_rejected() {
    let primes = [blum_prime(40), blum_prime(1241), blum_prime(640), blum_prime(640)];
    refused(run::<Lopsided>(primes, |_| ()), 4);
}

#[test]
fn a_prime_modulus_is_rejected() {
    let (p, q) = (blum_prime(640), blum_prime(640));
    let n = &p * &q;
    let proof = paillier_blum_modulus::non_interactive::prove::<128, Sha256>(
        &"attacks",
        paillier_blum_modulus::Data { n: &n },
        paillier_blum_modulus::PrivateData { p: &p, q: &q },
        &mut OsRng,
    )
    .unwrap();
    let check = |n: &Integer| {
        paillier_blum_modulus::non_interactive::verify::<128, Sha256>(
            &"attacks",
            paillier_blum_modulus::Data { n },
            &proof,
            &mut OsRng,
        )
    };
    check(&n).unwrap();
    assert!(check(&blum_prime(1280)).is_err());
    // The level asks for at least 4·ell bits, so that the range of Π_fac means something.
    let security = no_small_factor::SecurityParams {
        l: Honest::ELL,
        epsilon: Honest::EPSILON,
    };
    assert!(Honest::RSA_PUBKEY_BITLEN as usize >= 4 * security.l);
}

/// Proof of ring-Pedersen parameters as it travels.
#[derive(Deserialize)]
struct Seen {
    #[serde(rename = "hat_N")]
    modulus: Integer,
    s: Integer,
    t: Integer,
    params_proof: SeenProof,
}

#[derive(Deserialize)]
struct SeenProof {
    commitment: Vec<Integer>,
    zs: Vec<Integer>,
}

#[derive(Deserialize)]
enum SeenMsg {
    Round2(Seen),
    #[serde(other)]
    Other,
}

/// The published crate left all but the first 32 of the 128 challenge bits zero; see native/vendor/cggmp24/PATCHES.md.
#[test]
fn ring_pedersen_challenges_use_all_their_bits() {
    let mut seen = None;
    run::<Honest>(safe_primes(640), |body| {
        if let Ok(SeenMsg::Round2(message)) = ciborium::from_reader(body.as_slice()) {
            seen = Some(message);
        }
    })
    .unwrap();
    let Seen {
        modulus,
        s,
        t,
        params_proof,
    } = seen.unwrap();
    assert_eq!((params_proof.commitment.len(), params_proof.zs.len()), (128, 128));
    let bits: Vec<bool> = params_proof
        .commitment
        .iter()
        .zip(&params_proof.zs)
        .map(|(a, z)| {
            let left = t.pow_mod_ref(z, &modulus).unwrap();
            if left == *a {
                return false;
            }
            assert_eq!(left, (a * &s).modulo(&modulus));
            true
        })
        .collect();
    for word in bits.chunks(32) {
        assert!(
            word.iter().any(|&bit| bit) && word.iter().any(|&bit| !bit),
            "{bits:?}"
        );
    }
}
