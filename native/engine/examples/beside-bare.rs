//! Sessions of this engine beside the bare crate, and this crate's search for safe primes beside the protocol crate's own: the same
//! work by the same parties in one process, in turns. Prints one JSON line a sample; `bench/` reads them.
//!
//!     beside-bare ROUNDS PRIMES [NAME]     rounds of every pair (0: primes only), or of those whose name contains NAME; primes that
//!                                          the protocol crate searches for beside ours
//!
//! Costs are processor time over all threads, so that other programs on the machine weigh little.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use cairn_engine::child::KeyPath;
use cairn_engine::context::KeyRef;
use cairn_engine::ecdsa::partial::data_to_sign;
use cairn_engine::ecdsa::share::{open_share, seal_aux};
use cairn_engine::ecdsa::sign::{PresignItem, SignItem};
use cairn_engine::ecdsa::{Curve, KeygenMsg, SignMsg};
use cairn_engine::engine::{Engine, Output, Spec, Task};
use cairn_engine::executor;
use cairn_engine::key_source::KeyFile;
use cairn_engine::level::{LEVEL, PRIME_BITS, Security};
use cairn_engine::primes::sieve::safe_prime;
use cairn_engine::session::Event;
use cggmp24::backend::Integer;
use cggmp24::key_share::{DirtyAuxInfo, PedersenParams, Validate};
use cggmp24::round_based::{Incoming, MessageDestination, MessageType, MpcParty, Outgoing};
use cggmp24::{ExecutionId, KeyShare};
use frost_secp256k1_tr as frost;
use futures::channel::mpsc::{SendError, UnboundedSender, unbounded};
use futures::executor::{ThreadPool, block_on};
use futures::task::SpawnExt;
use futures::{SinkExt, StreamExt};
use rand_core::{OsRng, RngCore};
use serde::{Serialize, de::DeserializeOwned};

const NODES: u16 = 5;
const SIGNERS: u16 = 4;
const PATH: KeyPath = KeyPath(0, 7);
const CLUSTER: [u8; 32] = [7; 32];
const KEY: KeyRef = KeyRef {
    key_id: [9; 32],
    epoch: 0,
};
/// As long as the BIP-143 preimage of a P2WPKH input.
const PREIMAGE: [u8; 182] = [3; 182];
/// Cheap work is repeated, so that a sample lasts.
const REPEATS: u32 = 20;

type Bare = Result<(), String>;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u32>().ok());
    let (Some(rounds), Some(theirs)) = (number(0), number(1)) else {
        eprintln!("usage: beside-bare ROUNDS PRIMES [NAME]");
        std::process::exit(2);
    };
    let wanted = words.get(2).map_or("", String::as_str);
    let folder = std::env::temp_dir().join(format!("cairn-beside-bare-{:016x}", OsRng.next_u64()));
    std::fs::create_dir(&folder).expect("a folder for the vaults");
    let outcome = run(&folder, rounds, theirs, wanted);
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    if let Err(problem) = outcome {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}

fn run(folder: &Path, rounds: u32, theirs: u32, wanted: &str) -> Result<(), String> {
    let primes = search(theirs);
    if rounds == 0 {
        return Ok(());
    }
    let pool = executor::pool(None).map_err(words)?;
    let pair = |name: &str, repeats: u32, ours: &dyn Fn() -> Bare, bare: &dyn Fn() -> Bare| {
        if name.contains(wanted) {
            measured(name, repeats, ours, bare)
        } else {
            Ok(())
        }
    };
    let engines = (1..=NODES)
        .map(|node| open(folder, node))
        .collect::<Result<Vec<_>, _>>()?;
    let parties: Vec<u16> = (1..=NODES).collect();
    let signers: Vec<u16> = (1..=SIGNERS).collect();

    let aux = auxiliary(&primes)?;
    let sealed_aux = engines
        .iter()
        .zip(&aux)
        .map(|(engine, aux)| seal_aux(&engine.vault(), &parties, aux).map_err(words))
        .collect::<Result<Vec<_>, _>>()?;
    let keygen = |_: u32| {
        engine_session(&engines, &parties, |at| Task::EcdsaKeygen {
            key: KEY,
            threshold: SIGNERS,
            sealed_aux: sealed_aux[at].clone(),
        })
    };
    let sealed = sealed_shares(keygen(0)?)?;
    let shares = sealed
        .iter()
        .zip(&engines)
        .zip(&parties)
        .map(|((sealed, engine), &node)| {
            open_share(&engine.vault(), KEY, node, sealed)
                .map(|share| Arc::new(share.key))
                .map_err(words)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let frost_keygen = |_: u32| {
        engine_session(&engines, &parties, |_| Task::FrostKeygen {
            key: KEY,
            threshold: SIGNERS,
        })
    };
    let frost_sealed = sealed_shares(frost_keygen(0)?)?;
    let frost_bare = frost_dkg()?;

    for round in 0..rounds {
        for _ in 0..5 {
            pair(
                "cggmp24-keygen",
                REPEATS / 5,
                &|| keygen(round).map(drop),
                &|| bare_keygen(&pool, Wire::Bytes),
            )?;
            pair(
                "cggmp24-keygen beside messages that are never encoded",
                REPEATS / 5,
                &|| keygen(round).map(drop),
                &|| bare_keygen(&pool, Wire::Clones),
            )?;
            pair(
                "frost-keygen",
                REPEATS / 5,
                &|| frost_keygen(round).map(drop),
                &|| frost_dkg().map(drop),
            )?;
            pair(
                "frost-sign",
                REPEATS,
                &|| {
                    engine_session(&engines[..usize::from(SIGNERS)], &signers, |at| Task::FrostSign {
                        key: KEY,
                        sealed_share: frost_sealed[at].clone(),
                        items: vec![item()],
                    })
                    .map(drop)
                },
                &|| frost_sign(&frost_bare),
            )?;
        }
        pair(
            "cggmp24-presign",
            1,
            &|| {
                engine_session(&engines[..usize::from(SIGNERS)], &signers, |at| {
                    Task::EcdsaPresign {
                        key: KEY,
                        sealed_share: sealed[at].clone(),
                        items: vec![PresignItem {
                            id: [5; 32],
                            path: PATH,
                        }],
                    }
                })
                .map(drop)
            },
            &|| bare_signing(&pool, &shares, false),
        )?;
        pair(
            "cggmp24-sign",
            1,
            &|| {
                engine_session(&engines[..usize::from(SIGNERS)], &signers, |at| Task::EcdsaSign {
                    key: KEY,
                    sealed_share: sealed[at].clone(),
                    items: vec![item()],
                })
                .map(drop)
            },
            &|| bare_signing(&pool, &shares, true),
        )?;
    }
    Ok(())
}

fn words(failure: cairn_engine::failure::Failure) -> String {
    failure.message
}

fn item() -> SignItem {
    SignItem {
        path: PATH,
        preimage: PREIMAGE.to_vec(),
    }
}

/// Processor time of all live threads, in seconds. Pools keep theirs, so nothing that is measured ends with a thread.
fn processor() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux counts a thread's time");
    let nanoseconds: u64 = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum();
    nanoseconds as f64 / 1e9
}

/// One sample of a pair, in a random order: ours, then the bare crate's, or the other way.
fn measured(name: &str, repeats: u32, ours: &dyn Fn() -> Bare, bare: &dyn Fn() -> Bare) -> Bare {
    let measure = |work: &dyn Fn() -> Bare| -> Result<(f64, f64), String> {
        let (wall, spent) = (Instant::now(), processor());
        for _ in 0..repeats {
            work()?;
        }
        Ok((
            (processor() - spent) / f64::from(repeats),
            wall.elapsed().as_secs_f64() / f64::from(repeats),
        ))
    };
    let (ours, bare) = if OsRng.next_u32() & 1 == 0 {
        (measure(ours)?, measure(bare)?)
    } else {
        let bare = measure(bare)?;
        (measure(ours)?, bare)
    };
    println!(
        r#"{{"what":"{name}","level":"{}","ours":{{"cpu":{:.6},"wall":{:.6}}},"bare":{{"cpu":{:.6},"wall":{:.6}}}}}"#,
        LEVEL.name(),
        ours.0,
        ours.1,
        bare.0,
        bare.1
    );
    Ok(())
}

/// Four primes a node from our sieve, and `theirs` from the protocol crate's generator, on all cores.
fn search(theirs: u32) -> Vec<Integer> {
    let wanted = usize::from(NODES) * 4;
    let jobs: Mutex<Vec<bool>> = Mutex::new(
        std::iter::repeat_n(true, wanted)
            .chain(std::iter::repeat_n(false, theirs as usize))
            .collect(),
    );
    let found = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    // The sieve's table of small primes is made once a process, not once a prime.
    let _ = safe_prime(64, &mut OsRng, &AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let Some(ours) = jobs.lock().expect("no job panics").pop() else {
                        return;
                    };
                    let spent = thread_processor();
                    let prime = if ours {
                        safe_prime(PRIME_BITS, &mut OsRng, &AtomicBool::new(false)).expect("nothing stops it")
                    } else {
                        Integer::generate_safe_prime(&mut OsRng, PRIME_BITS)
                    };
                    println!(
                        r#"{{"what":"safe-prime","level":"{}","side":"{}","bits":{PRIME_BITS},"cpu":{:.6}}}"#,
                        LEVEL.name(),
                        if ours { "ours" } else { "bare" },
                        thread_processor() - spent
                    );
                    if ours {
                        found.lock().expect("no job panics").push(prime);
                    }
                }
            });
        }
    });
    found.into_inner().expect("no job panics")
}

/// Processor time of the calling thread, in seconds.
fn thread_processor() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts a thread's time");
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse::<u64>().ok());
    nanoseconds.expect("a number comes first") as f64 / 1e9
}

/// Auxiliary information without its proofs, as a trusted dealer would hand it out: signing costs the same with it.
fn auxiliary(primes: &[Integer]) -> Result<Vec<cggmp24::key_share::AuxInfo<Security>>, String> {
    let of_node: Vec<&[Integer]> = primes.chunks(4).collect();
    let moduli: Vec<Integer> = of_node.iter().map(|four| &four[0] * &four[1]).collect();
    let pedersen: Vec<PedersenParams> = of_node
        .iter()
        .map(|four| {
            let modulus = &four[2] * &four[3];
            let root = modulus.random_below_ref(&mut OsRng);
            let t = (&root * &root).modulo(&modulus);
            let s = t
                .pow_mod_ref(&modulus.random_below_ref(&mut OsRng), &modulus)
                .ok_or("no power")?;
            Ok(PedersenParams {
                hat_N: modulus,
                s,
                t,
                multiexp: None,
                crt: None,
            })
        })
        .collect::<Result<_, String>>()?;
    of_node
        .iter()
        .map(|four| {
            DirtyAuxInfo {
                p: four[0].clone(),
                q: four[1].clone(),
                N: moduli.clone(),
                pedersen_params: pedersen.clone(),
                security_level: std::marker::PhantomData,
            }
            .validate()
            .map_err(|error| format!("{}", error.into_error()))
        })
        .collect()
}

fn open(folder: &Path, node: u16) -> Result<Engine, String> {
    let key: PathBuf = folder.join(format!("key-{node}"));
    KeyFile::create(&key).map_err(words)?;
    let header = folder.join(format!("header-{node}"));
    Engine::open(&KeyFile(key), &header, CLUSTER, node, None).map_err(words)
}

/// Runs one session at every engine over a wire in memory.
fn engine_session(
    engines: &[Engine],
    parties: &[u16],
    task: impl Fn(usize) -> Task,
) -> Result<Vec<Output>, String> {
    let mut execution_id = [0; 32];
    OsRng.fill_bytes(&mut execution_id);
    let (events, heard) = mpsc::channel();
    let mut sessions = BTreeMap::new();
    for (at, (engine, &me)) in engines.iter().zip(parties).enumerate() {
        let events = Mutex::new(events.clone());
        let spec = Spec {
            execution_id,
            me,
            parties: parties.to_vec(),
            task: task(at),
        };
        let session = engine
            .start(spec, move |event| {
                // Nobody listens once the session has failed elsewhere.
                let _ = events.lock().expect("no sender panics").send((me, event));
            })
            .map_err(words)?;
        sessions.insert(me, session);
    }
    let mut outputs = BTreeMap::new();
    while outputs.len() < parties.len() {
        let (from, event) = heard.recv().map_err(|_| "all sessions are gone")?;
        match event {
            Event::Send { to, payload, .. } => {
                for (&node, session) in &sessions {
                    if node != from && to.is_none_or(|to| to == node) {
                        session.receive(from, &payload);
                    }
                }
            }
            Event::Progress { .. } => {}
            Event::Done(output) => {
                outputs.insert(from, output);
            }
            Event::Failed(failure) => return Err(failure.message),
        }
    }
    Ok(outputs.into_values().collect())
}

fn sealed_shares(outputs: Vec<Output>) -> Result<Vec<Vec<u8>>, String> {
    outputs
        .into_iter()
        .map(|output| match output {
            Output::Key(key) => Ok(key.sealed_share),
            _ => Err("the session made no key".into()),
        })
        .collect()
}

/// How the bare crate's parties get each other's messages.
#[derive(Clone, Copy)]
enum Wire {
    /// As bytes, which is what parties on machines of their own exchange.
    Bytes,
    /// As they are in memory.
    Clones,
}

/// Runs one bare protocol at every party over a wire in memory.
fn bare_session<M, F, Fut>(pool: &ThreadPool, count: u16, wire: Wire, protocol: F) -> Bare
where
    M: Clone + Serialize + DeserializeOwned + Send + 'static,
    F: Fn(u16, BareParty<M>) -> Fut,
    Fut: Future<Output = Bare> + Send + 'static,
{
    let (out, mut sent) = unbounded::<(u16, Outgoing<M>)>();
    let mut inboxes = Vec::new();
    let mut ends = Vec::new();
    for i in 0..count {
        let (to, inbox) = unbounded::<Incoming<M>>();
        inboxes.push(to);
        let incoming: BareIncoming<M> = inbox.map(Ok as fn(Incoming<M>) -> Result<Incoming<M>, SendError>);
        let outgoing: BareOutgoing<M> = Box::pin(
            out.clone()
                .with(move |message: Outgoing<M>| futures::future::ready(Ok::<_, SendError>((i, message)))),
        );
        let future = protocol(i, MpcParty::connected((incoming, outgoing)));
        ends.push(
            pool.spawn_with_handle(future)
                .map_err(|error| error.to_string())?,
        );
    }
    drop(out);
    block_on(async {
        let mut id = 0;
        while let Some((from, message)) = sent.next().await {
            let (only, msg_type) = match message.recipient {
                MessageDestination::AllParties => (None, MessageType::Broadcast),
                MessageDestination::OneParty(to) => (Some(to), MessageType::P2P),
            };
            let encoded = match wire {
                Wire::Bytes => {
                    let mut bytes = Vec::new();
                    ciborium::into_writer(&message.msg, &mut bytes).map_err(|error| error.to_string())?;
                    Some(bytes)
                }
                Wire::Clones => None,
            };
            for (to, inbox) in (0u16..).zip(&inboxes) {
                if to != from && only.is_none_or(|only| only == to) {
                    id += 1;
                    let msg = match &encoded {
                        Some(bytes) => {
                            ciborium::from_reader(bytes.as_slice()).map_err(|error| error.to_string())?
                        }
                        None => message.msg.clone(),
                    };
                    deliver(inbox, id, from, msg_type, msg);
                }
            }
        }
        for end in ends {
            end.await?;
        }
        Ok(())
    })
}

type BareIncoming<M> = futures::stream::Map<
    futures::channel::mpsc::UnboundedReceiver<Incoming<M>>,
    fn(Incoming<M>) -> Result<Incoming<M>, SendError>,
>;
type BareOutgoing<M> = std::pin::Pin<Box<dyn futures::Sink<Outgoing<M>, Error = SendError> + Send>>;
type BareParty<M> = MpcParty<M, (BareIncoming<M>, BareOutgoing<M>)>;

fn deliver<M>(inbox: &UnboundedSender<Incoming<M>>, id: u64, sender: u16, msg_type: MessageType, msg: M) {
    // A party that has ended needs no more messages.
    let _ = inbox.unbounded_send(Incoming {
        id,
        sender,
        msg_type,
        msg,
    });
}

fn execution() -> [u8; 32] {
    let mut id = [0; 32];
    OsRng.fill_bytes(&mut id);
    id
}

fn bare_keygen(pool: &ThreadPool, wire: Wire) -> Bare {
    let eid = execution();
    bare_session::<KeygenMsg, _, _>(pool, NODES, wire, |i, party| async move {
        cggmp24::keygen::<Curve>(ExecutionId::new(&eid), i, NODES)
            .set_security_level::<Security>()
            .set_threshold(SIGNERS)
            .hd_wallet(true)
            .enforce_reliable_broadcast(true)
            .start(&mut OsRng, party)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    })
}

fn bare_signing(pool: &ThreadPool, shares: &[Arc<KeyShare<Curve, Security>>], whole: bool) -> Bare {
    let eid = execution();
    let at_keygen: Vec<u16> = (0..SIGNERS).collect();
    bare_session::<SignMsg, _, _>(pool, SIGNERS, Wire::Bytes, |i, party| {
        let (share, at_keygen) = (Arc::clone(&shares[usize::from(i)]), at_keygen.clone());
        async move {
            let signing = cggmp24::signing(ExecutionId::new(&eid), i, &at_keygen, &share)
                .set_derivation_path(PATH.steps())
                .map_err(|_| "the share has no chain code")?
                .enforce_reliable_broadcast(true);
            if whole {
                let data = data_to_sign(&PREIMAGE);
                signing.sign(&mut OsRng, party, &data).await.map(drop)
            } else {
                signing.generate_presignature(&mut OsRng, party).await.map(drop)
            }
            .map_err(|error| error.to_string())
        }
    })
}

type FrostKeys = BTreeMap<frost::Identifier, (frost::keys::KeyPackage, frost::keys::PublicKeyPackage)>;

/// Messages are bytes, which each of their receivers reads.
fn frost_dkg() -> Result<FrostKeys, String> {
    use frost::keys::dkg;
    let told = |error: frost::Error| error.to_string();
    let ids: Vec<frost::Identifier> = (1..=NODES)
        .map(frost::Identifier::try_from)
        .collect::<Result<_, _>>()
        .map_err(told)?;
    let mut firsts = Vec::new();
    let mut packages = BTreeMap::new();
    for &id in &ids {
        let (secret, package) = dkg::part1(id, NODES, SIGNERS, OsRng).map_err(told)?;
        firsts.push((id, secret));
        packages.insert(id, package.serialize().map_err(told)?);
    }
    let mut seconds = Vec::new();
    let mut sent: BTreeMap<frost::Identifier, BTreeMap<_, Vec<u8>>> = BTreeMap::new();
    for (id, secret) in firsts {
        let others = others(id, &packages, dkg::round1::Package::deserialize)?;
        let (second, out) = dkg::part2(secret, &others).map_err(told)?;
        seconds.push((id, second, others));
        for (to, package) in out {
            let bytes = package.serialize().map_err(told)?;
            sent.entry(to).or_default().insert(id, bytes);
        }
    }
    seconds
        .into_iter()
        .map(|(id, second, packages)| {
            let shares = others(id, &sent[&id], dkg::round2::Package::deserialize)?;
            dkg::part3(&second, &packages, &shares)
                .map(|keys| (id, keys))
                .map_err(told)
        })
        .collect()
}

/// Reads what everybody but `me` sent.
fn others<T>(
    me: frost::Identifier,
    sent: &BTreeMap<frost::Identifier, Vec<u8>>,
    read: impl Fn(&[u8]) -> Result<T, frost::Error>,
) -> Result<BTreeMap<frost::Identifier, T>, String> {
    sent.iter()
        .filter(|(id, _)| **id != me)
        .map(|(&id, bytes)| {
            read(bytes)
                .map(|value| (id, value))
                .map_err(|error| error.to_string())
        })
        .collect()
}

/// Messages are bytes, which each of their receivers reads. Each of the signers aggregates, as each of ours does, by which the crate verifies.
fn frost_sign(keys: &FrostKeys) -> Bare {
    let told = |error: frost::Error| error.to_string();
    let signers: Vec<_> = keys.iter().take(usize::from(SIGNERS)).collect();
    let mut nonces = Vec::new();
    let mut sent = BTreeMap::new();
    for (id, (key, _)) in &signers {
        let (nonce, commitments) = frost::round1::commit(key.signing_share(), &mut OsRng);
        sent.insert(**id, commitments.serialize().map_err(told)?);
        nonces.push((nonce, commitments));
    }
    let mut packages = Vec::new();
    let mut shares = BTreeMap::new();
    for ((id, (key, _)), (nonce, mine)) in signers.iter().zip(nonces) {
        let mut commitments = others(**id, &sent, frost::round1::SigningCommitments::deserialize)?;
        commitments.insert(**id, mine);
        let package = frost::SigningPackage::new(commitments, &[3; 32]);
        let share = frost::round2::sign_with_tweak(&package, &nonce, key, None).map_err(told)?;
        shares.insert(**id, share.serialize());
        packages.push((package, share));
    }
    for ((id, (_, public)), (package, mine)) in signers.iter().zip(packages) {
        let mut shares = others(**id, &shares, frost::round2::SignatureShare::deserialize)?;
        shares.insert(**id, mine);
        frost::aggregate_with_tweak(&package, &shares, public, None).map_err(told)?;
    }
    Ok(())
}
