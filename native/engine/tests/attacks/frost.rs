//! What a malicious party can try in FROST key generation, and what a fault inside a session does.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use cairn_engine::context::{KeyRef, context};
use cairn_engine::ecdsa::keygen::NewKey;
use cairn_engine::executor;
use cairn_engine::failure::{Code, Failure};
use cairn_engine::frame::{FrameDomain, Kind};
use cairn_engine::frost;
use cairn_engine::public_package::PublicPackage;
use cairn_engine::session::{self, Event, Io, Session};
use cairn_engine::vault::Vault;
use zeroize::Zeroizing;

const PARTIES: [u16; 3] = [1, 2, 5];
const KEY: KeyRef = KeyRef {
    key_id: [7; 32],
    epoch: 3,
};

fn domain() -> FrameDomain {
    let execution_id = [9; 32];
    let context = context(Kind::FrostKeygen, &execution_id, KEY, &PARTIES, 2, []);
    FrameDomain {
        kind: Kind::FrostKeygen,
        execution_id,
        context,
        items: 1,
    }
}

type Heard = (u16, Event<NewKey>);

fn open(me: u16, threshold: u16, heard: Sender<Heard>) -> Session<NewKey> {
    let vault = Arc::new(Vault::new(&Zeroizing::new([1; 32]), [2; 32], me));
    let heard = Mutex::new(heard);
    session::start(
        executor::pool(Some(2)).unwrap(),
        domain(),
        me,
        PARTIES.to_vec(),
        move |event| heard.lock().unwrap().send((me, event)).unwrap(),
        move |io: Io<NewKey>| frost::keygen::run(io, vault, KEY, threshold),
    )
    .unwrap()
}

/// Carries messages until the parties in `until` have ended.
fn run(
    sessions: &BTreeMap<u16, Session<NewKey>>,
    heard: &Receiver<Heard>,
    until: &[u16],
) -> BTreeMap<u16, Result<NewKey, Failure>> {
    let mut ends = BTreeMap::new();
    while !until.iter().all(|party| ends.contains_key(party)) {
        let (from, event) = heard.recv().unwrap();
        match event {
            Event::Send { to, payload, .. } => {
                for (&party, session) in sessions {
                    if party != from && to.is_none_or(|to| to == party) {
                        session.receive(from, &payload);
                    }
                }
            }
            Event::Progress { .. } => {}
            Event::Done(key) => {
                ends.insert(from, Ok(key));
            }
            Event::Failed(failure) => {
                ends.insert(from, Err(failure));
            }
        }
    }
    ends
}

#[test]
fn honest_parties_agree_on_one_package() {
    let (tx, heard) = channel();
    let sessions = PARTIES.iter().map(|&me| (me, open(me, 2, tx.clone()))).collect();
    let ends = run(&sessions, &heard, &PARTIES);
    let packages: Vec<_> = ends
        .into_values()
        .map(|end| end.unwrap().public_package)
        .collect();
    assert!(packages.windows(2).all(|pair| pair[0] == pair[1]));
    let read = PublicPackage::read(&packages[0]).unwrap();
    assert_eq!(
        (read.threshold, read.parties.as_slice(), read.epoch),
        (2, PARTIES.as_slice(), 3)
    );
}

/// A polynomial of a higher degree would make a key that the agreed number of signers cannot use.
#[test]
fn a_raised_threshold_names_its_author() {
    let (tx, heard) = channel();
    let sessions = PARTIES
        .iter()
        .map(|&me| (me, open(me, if me == 2 { 3 } else { 2 }, tx.clone())))
        .collect();
    let ends = run(&sessions, &heard, &[1, 5]);
    for party in [1, 5] {
        let failure = ends[&party].as_ref().err().unwrap();
        assert_eq!(
            (failure.code, failure.round, failure.blamed.as_slice()),
            (Code::InvalidRoundMessage, 3, [2].as_slice()),
        );
    }
}

#[test]
fn a_panic_inside_a_session_ends_that_session_only() {
    let (tx, heard) = channel();
    let tx = Mutex::new(tx);
    let _session = session::start(
        executor::pool(Some(2)).unwrap(),
        domain(),
        1,
        PARTIES.to_vec(),
        move |event: Event<()>| tx.lock().unwrap().send(event).unwrap(),
        |io| async move {
            io.progress(1, "about to fail");
            if io.me == 1 {
                panic!("a fault of the protocol's code");
            }
            Ok(())
        },
    )
    .unwrap();
    assert!(matches!(heard.recv().unwrap(), Event::Progress { .. }));
    let Event::Failed(failure) = heard.recv().unwrap() else {
        panic!("the session did not fail")
    };
    assert_eq!((failure.code, failure.blamed), (Code::Internal, vec![]));
    assert!(heard.recv().is_err(), "nothing follows the end");
    honest_parties_agree_on_one_package();
}
