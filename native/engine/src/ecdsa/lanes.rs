//! Runs the items of a session beside each other: one protocol execution ("lane") an item, all on one pool and one wire.
//!
//! A lane sends from its own thread. The only lane of a session runs in the session's own task, so that no message changes threads.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use cggmp24::progress::{Event as Traced, Tracer};
use cggmp24::round_based::{Incoming, MessageDestination, MessageType, MpcParty, Outgoing, PartyIndex};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::Either;
use futures::stream::{FuturesUnordered, Map};
use futures::task::SpawnExt;
use futures::{FutureExt, Sink, StreamExt};
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::codec;
use crate::ecdsa::{AuxMsg, KeygenMsg, SignMsg};
use crate::failure::Failure;
use crate::frame::Slot;
use crate::public_package::position;
use crate::session::{Io, closed};

const fn all(round: u8) -> Slot {
    Slot {
        round,
        broadcast: true,
    }
}

const fn one(round: u8) -> Slot {
    Slot {
        round,
        broadcast: false,
    }
}

/// The last, online round of a full signature.
pub const ONLINE: Slot = all(5);

/// A message type of the crate and the place of each of its variants.
pub trait Wire: Serialize + DeserializeOwned + Send + 'static {
    /// Whether its byte strings and texts are points, scalars, hashes and names alone.
    const POINTS: bool;

    fn slot(&self) -> Slot;
}

impl Wire for AuxMsg {
    const POINTS: bool = false;

    fn slot(&self) -> Slot {
        match self {
            Self::Round1(_) => all(1),
            Self::ReliabilityCheck(_) => all(2),
            Self::Round2(_) => all(3),
            Self::Round3(_) => one(4),
        }
    }
}

impl Wire for KeygenMsg {
    const POINTS: bool = true;

    fn slot(&self) -> Slot {
        match self {
            Self::Round1(_) => all(1),
            Self::ReliabilityCheck(_) => all(2),
            Self::Round2Broad(_) => all(3),
            Self::Round2Uni(_) => one(3),
            Self::Round3(_) => all(4),
        }
    }
}

impl Wire for SignMsg {
    const POINTS: bool = false;

    fn slot(&self) -> Slot {
        match self {
            Self::Round1a(_) => all(1),
            Self::Round1b(_) => one(1),
            Self::ReliabilityCheck(_) => all(2),
            Self::Round2(_) => one(3),
            Self::Round3(_) => all(4),
            Self::Round4(_) => ONLINE,
        }
    }
}

type Incomings<M> = Map<UnboundedReceiver<Incoming<M>>, fn(Incoming<M>) -> Result<Incoming<M>, Infallible>>;

/// The delivery that a lane hands to the crate.
pub type Party<M> = MpcParty<M, (Incomings<M>, LaneSink<M>)>;

type Sender<M> = Arc<dyn Fn(u16, &Outgoing<M>) -> Result<(), Failure> + Send + Sync>;

/// Outgoing half of a lane: what goes in is on its way.
pub struct LaneSink<M> {
    item: u16,
    send: Sender<M>,
}

impl<M> LaneSink<M> {
    pub fn send_now(&self, message: &Outgoing<M>) -> Result<(), Failure> {
        (self.send)(self.item, message)
    }
}

impl<M> Clone for LaneSink<M> {
    fn clone(&self) -> Self {
        Self {
            item: self.item,
            send: Arc::clone(&self.send),
        }
    }
}

impl<M> Sink<Outgoing<M>> for LaneSink<M> {
    type Error = Failure;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Outgoing<M>) -> Result<(), Failure> {
        self.send_now(&message)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }
}

/// What one lane's future works with.
pub struct Lane<M> {
    pub item: u16,
    pub party: Party<M>,
    /// For messages that the crate's protocol does not send itself.
    pub sink: LaneSink<M>,
    /// Messages of the online round, by protocol index of the sender.
    pub online: UnboundedReceiver<(PartyIndex, M)>,
    pub tracer: RoundTracer,
}

/// A step is told of when its round begins, or when the last one told of took this long: most end within microseconds.
const STEP: Duration = Duration::from_millis(100);

/// Reports the rounds of the first item as progress of the session.
pub struct RoundTracer {
    report: Option<Box<dyn Fn(u8, &'static str) + Send + Sync>>,
    round: u8,
    /// When a step of which round was last told of.
    told: Option<(u8, Instant)>,
}

impl Tracer for RoundTracer {
    fn trace_event(&mut self, event: Traced) {
        let Some(report) = &self.report else { return };
        match event {
            Traced::RoundBegins { .. } => self.round = self.round.saturating_add(1),
            Traced::Stage { name } => {
                let (round, now) = (self.round.max(1), Instant::now());
                if self
                    .told
                    .is_none_or(|(told, at)| told != round || now - at >= STEP)
                {
                    self.told = Some((round, now));
                    report(round, name);
                }
            }
            _ => {}
        }
    }
}

struct Wires<M> {
    protocol: UnboundedSender<Incoming<M>>,
    online: UnboundedSender<(PartyIndex, M)>,
}

/// Runs `make(lane)` for every item and carries messages until all have ended; the first failure ends the session.
pub async fn run<S, M, T, Fut>(
    io: &mut Io<S>,
    mut make: impl FnMut(Lane<M>) -> Fut,
) -> Result<Vec<T>, Failure>
where
    S: Send + 'static,
    M: Wire,
    T: Send + 'static,
    Fut: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let send = sender(io);
    let mut wires = Vec::new();
    let mut running = FuturesUnordered::new();
    for item in 0..io.domain.items {
        let (protocol, incoming) = unbounded();
        let (online, online_incoming) = unbounded();
        wires.push(Wires { protocol, online });
        let sink = LaneSink {
            item,
            send: Arc::clone(&send),
        };
        let incomings: Incomings<M> = incoming.map(Ok::<_, Infallible> as fn(_) -> _);
        let lane = Lane {
            item,
            party: MpcParty::connected((incomings, sink.clone())),
            sink,
            online: online_incoming,
            tracer: tracer(io, item),
        };
        let future = make(lane);
        let ended = if io.domain.items == 1 {
            Either::Left(future)
        } else {
            Either::Right(
                io.pool
                    .spawn_with_handle(future)
                    .map_err(|_| Failure::internal("the engine's threads have ended"))?,
            )
        };
        running.push(ended.map(move |result| (item, result)));
    }

    let mut first: HashMap<Slot, Zeroizing<Vec<u8>>> = HashMap::new();
    let mut results: Vec<Option<T>> = wires.iter().map(|_| None).collect();
    let mut next_id = 0;
    loop {
        futures::select_biased! {
            ended = running.next() => {
                let Some((item, result)) = ended else { break };
                if let Some(place) = results.get_mut(usize::from(item)) {
                    *place = Some(result?);
                }
            }
            inbound = io.inbox().next() => {
                let inbound = inbound.unwrap_or_else(|| Err(closed()))?;
                let (from, round) = (inbound.from, inbound.slot.round);
                let refuse = |why: &str| {
                    Failure::bad_message(from, round, format!("node {from} sent a message that {why}"))
                };
                let msg: M = match first.get(&inbound.slot) {
                    Some(like) => codec::decode_like(&inbound.body, like),
                    None => codec::decode(&inbound.body),
                }
                .map_err(|_| refuse("does not decode"))?;
                if msg.slot() != inbound.slot {
                    return Err(refuse("is of another round than its header says"));
                }
                if M::POINTS {
                    first.entry(inbound.slot).or_insert(inbound.body);
                }
                let sender = position(&io.parties, from)?;
                if let Some(wire) = wires.get(usize::from(inbound.item)) {
                    // An ended lane needs no more messages.
                    let _ = if inbound.slot == ONLINE {
                        wire.online.unbounded_send((sender, msg)).is_ok()
                    } else {
                        let msg_type = if inbound.slot.broadcast {
                            MessageType::Broadcast
                        } else {
                            MessageType::P2P
                        };
                        next_id += 1;
                        wire.protocol
                            .unbounded_send(Incoming { id: next_id, sender, msg_type, msg })
                            .is_ok()
                    };
                }
            }
        }
    }
    results
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Failure::internal("an item of the session ended without a result"))
}

fn sender<S: Send + 'static, M: Wire>(io: &Io<S>) -> Sender<M> {
    let (outbound, parties) = (io.outbound(), io.parties.clone());
    Arc::new(move |item, message| {
        let body = codec::encode(&message.msg)?;
        let to =
            match message.recipient {
                MessageDestination::AllParties => None,
                MessageDestination::OneParty(at) => Some(*parties.get(usize::from(at)).ok_or_else(|| {
                    Failure::internal("the protocol addressed a party that does not exist")
                })?),
            };
        outbound.send(to, item, message.msg.slot(), &body);
        Ok(())
    })
}

fn tracer<S: Send + 'static>(io: &Io<S>, item: u16) -> RoundTracer {
    let report = (item == 0).then(|| {
        let (outbound, rounds) = (io.outbound(), io.domain.kind.rounds());
        Box::new(move |round: u8, step: &'static str| outbound.progress(round.min(rounds), step))
            as Box<dyn Fn(u8, &'static str) + Send + Sync>
    });
    RoundTracer {
        report,
        round: 0,
        told: None,
    }
}
