//! One multi-party session at this node: a gate for what comes in, an emitter for what goes out, a future between them.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::executor::ThreadPool;
use futures::future::{AbortHandle, Abortable};
use futures::{FutureExt, StreamExt};
use zeroize::Zeroizing;

use crate::failure::{Code, Failure};
use crate::frame::{FrameDomain, Slot};

/// Live sessions of one process; more are refused as `busy` before any work.
const MAX_SESSIONS: usize = 4096;
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// What a session tells its owner. `Done` and `Failed` end it; exactly one of them is the last event.
#[derive(Debug)]
pub enum Event<T> {
    /// `to: None` is a broadcast to all other parties.
    Send {
        to: Option<u16>,
        round: u8,
        payload: Vec<u8>,
    },
    Progress {
        round: u8,
        rounds: u8,
        step: &'static str,
    },
    Done(T),
    Failed(Failure),
}

type Sink<T> = Box<dyn Fn(Event<T>) + Send>;

/// Hands events over in order, and nothing after the last one.
pub struct Emitter<T>(Mutex<Option<Sink<T>>>);

impl<T> Emitter<T> {
    fn lock(&self) -> MutexGuard<'_, Option<Sink<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn emit(&self, event: Event<T>) {
        if let Some(sink) = self.lock().as_ref() {
            sink(event);
        }
    }

    fn finish(&self, event: Event<T>) {
        if let Some(sink) = self.lock().take() {
            sink(event);
        }
    }

    fn close(&self) {
        self.lock().take();
    }
}

/// A message that passed the gate.
pub struct Inbound {
    pub from: u16,
    pub item: u16,
    pub slot: Slot,
    pub body: Zeroizing<Vec<u8>>,
}

struct Gate {
    seen: HashSet<(u16, u16, Slot)>,
    inbox: Option<UnboundedSender<Result<Inbound, Failure>>>,
}

/// What a session tells its owner while it runs, from any thread.
pub struct Outbound<T> {
    domain: FrameDomain,
    emitter: Arc<Emitter<T>>,
}

impl<T> Outbound<T> {
    /// `to: None` is a broadcast to all other parties.
    pub fn send(&self, to: Option<u16>, item: u16, slot: Slot, body: &[u8]) {
        self.emitter.emit(Event::Send {
            to,
            round: slot.round,
            payload: self.domain.write(item, slot, body),
        });
    }

    pub fn progress(&self, round: u8, step: &'static str) {
        self.emitter.emit(Event::Progress {
            round,
            rounds: self.domain.kind.rounds(),
            step,
        });
    }
}

impl<T> Clone for Outbound<T> {
    fn clone(&self) -> Self {
        Self {
            domain: self.domain.clone(),
            emitter: Arc::clone(&self.emitter),
        }
    }
}

/// What a session's future works with.
pub struct Io<T> {
    pub domain: FrameDomain,
    pub me: u16,
    /// Node indices of all participants, this node among them, ascending.
    pub parties: Vec<u16>,
    pub pool: ThreadPool,
    outbound: Outbound<T>,
    inbox: UnboundedReceiver<Result<Inbound, Failure>>,
    early: Vec<Inbound>,
}

impl<T: Send + 'static> Io<T> {
    pub fn send(&self, to: Option<u16>, item: u16, slot: Slot, body: &[u8]) {
        self.outbound.send(to, item, slot, body);
    }

    pub fn outbound(&self) -> Outbound<T> {
        self.outbound.clone()
    }

    pub fn progress(&self, round: u8, step: &'static str) {
        self.outbound.progress(round, step);
    }

    /// Messages of all peers as they come; the first refusal is the last entry.
    pub fn inbox(&mut self) -> &mut UnboundedReceiver<Result<Inbound, Failure>> {
        &mut self.inbox
    }

    /// One message of every other party for `slot` of item 0; what comes for later slots is kept.
    pub async fn collect(&mut self, slot: Slot) -> Result<BTreeMap<u16, Zeroizing<Vec<u8>>>, Failure> {
        let mut bodies = BTreeMap::new();
        let (wanted, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.early)
            .into_iter()
            .partition(|inbound| inbound.slot == slot);
        self.early = kept;
        bodies.extend(wanted.into_iter().map(|inbound| (inbound.from, inbound.body)));
        while bodies.len() + 1 < self.parties.len() {
            let inbound = self.inbox.next().await.unwrap_or_else(|| Err(closed()))?;
            if inbound.slot == slot {
                bodies.insert(inbound.from, inbound.body);
            } else {
                self.early.push(inbound);
            }
        }
        Ok(bodies)
    }
}

/// The end of a session whose owner let go of it.
pub fn closed() -> Failure {
    Failure::new(Code::Closed, "the session was closed")
}

/// The owner's end of a session.
pub struct Session<T> {
    domain: FrameDomain,
    me: u16,
    parties: Vec<u16>,
    gate: Mutex<Gate>,
    emitter: Arc<Emitter<T>>,
    abort: AbortHandle,
}

impl<T> Session<T> {
    /// Hands in a message of a peer whom the caller authenticated. A message of a node outside the session is dropped: an
    /// outsider must not be able to end it. Anything else that is out of place ends the session and names the sender.
    pub fn receive(&self, from: u16, payload: &[u8]) {
        if from == self.me || !self.parties.contains(&from) {
            return;
        }
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let checked = self.domain.read(from, payload).and_then(|frame| {
            if gate.seen.insert((from, frame.item, frame.slot)) {
                Ok(Inbound {
                    from,
                    item: frame.item,
                    slot: frame.slot,
                    body: Zeroizing::new(frame.body.to_vec()),
                })
            } else {
                Err(Failure::bad_message(
                    from,
                    frame.slot.round,
                    format!("node {from} sent a second message for one place in the protocol"),
                ))
            }
        });
        let refused = checked.is_err();
        if let Some(inbox) = &gate.inbox {
            // A closed inbox means that the session has ended; late messages have no effect then.
            let _ = inbox.unbounded_send(checked);
        }
        if refused {
            gate.inbox = None;
        }
    }

    /// Ends the session at once; nothing more is emitted. Idempotent.
    pub fn cancel(&self) {
        self.emitter.close();
        self.abort.abort();
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).inbox = None;
    }
}

impl<T> Drop for Session<T> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Counts a live session for as long as its future lives.
struct Slotted;

impl Slotted {
    fn take() -> Result<Self, Failure> {
        if LIVE.fetch_add(1, Ordering::SeqCst) >= MAX_SESSIONS {
            LIVE.fetch_sub(1, Ordering::SeqCst);
            return Err(Failure::new(
                Code::Busy,
                format!("{MAX_SESSIONS} sessions are running; end some before you start another"),
            ));
        }
        Ok(Self)
    }
}

impl Drop for Slotted {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Starts `protocol` on `pool`. A panic inside ends the session as `internal`; it reaches nobody else.
///
/// # Errors
/// `busy` when too many sessions are live.
pub fn start<T, F, Fut>(
    pool: ThreadPool,
    domain: FrameDomain,
    me: u16,
    parties: Vec<u16>,
    sink: impl Fn(Event<T>) + Send + 'static,
    protocol: F,
) -> Result<Session<T>, Failure>
where
    T: Send + 'static,
    F: FnOnce(Io<T>) -> Fut,
    Fut: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let slotted = Slotted::take()?;
    let emitter = Arc::new(Emitter(Mutex::new(Some(Box::new(sink) as Sink<T>))));
    let (tx, rx) = unbounded();
    let io = Io {
        domain: domain.clone(),
        me,
        parties: parties.clone(),
        pool: pool.clone(),
        outbound: Outbound {
            domain: domain.clone(),
            emitter: Arc::clone(&emitter),
        },
        inbox: rx,
        early: Vec::new(),
    };
    let running = AssertUnwindSafe(protocol(io)).catch_unwind();
    let (abort, registration) = AbortHandle::new_pair();
    let last = Arc::clone(&emitter);
    pool.spawn_ok(async move {
        let _slotted = slotted;
        if let Ok(outcome) = Abortable::new(running, registration).await {
            last.finish(match outcome {
                Ok(Ok(output)) => Event::Done(output),
                Ok(Err(failure)) => Event::Failed(failure),
                Err(_) => Event::Failed(Failure::internal(
                    "the engine failed inside a protocol step; the session ended without a result",
                )),
            });
        }
    });
    Ok(Session {
        domain,
        me,
        parties,
        gate: Mutex::new(Gate {
            seen: HashSet::new(),
            inbox: Some(tx),
        }),
        emitter,
        abort,
    })
}
