//! Runs the items of a session beside each other: one protocol execution ("lane") an item, all on one pool and one wire.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use cggmp24::progress::{Event as Traced, Tracer};
use cggmp24::round_based::{Incoming, MessageDestination, MessageType, MpcParty, Outgoing, PartyIndex};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::RemoteHandle;
use futures::stream::{FuturesUnordered, Map};
use futures::task::SpawnExt;
use futures::{FutureExt, Sink, StreamExt};
use serde::{Serialize, de::DeserializeOwned};

use crate::codec;
use crate::ecdsa::{AuxMsg, KeygenMsg, SignMsg};
use crate::failure::Failure;
use crate::frame::Slot;
use crate::public_package::position;
use crate::session::{Emitter, Event, Io, closed};

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
    fn slot(&self) -> Slot;
}

impl Wire for AuxMsg {
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

/// Outgoing half of a lane.
pub struct LaneSink<M> {
    item: u16,
    out: UnboundedSender<(u16, Outgoing<M>)>,
}

/// The session ended while a lane was still sending.
#[derive(Debug, thiserror::Error)]
#[error("the session has ended")]
pub struct Ended;

impl<M> LaneSink<M> {
    pub fn send_now(&self, message: Outgoing<M>) -> Result<(), Ended> {
        self.out.unbounded_send((self.item, message)).map_err(|_| Ended)
    }
}

impl<M> Clone for LaneSink<M> {
    fn clone(&self) -> Self {
        Self {
            item: self.item,
            out: self.out.clone(),
        }
    }
}

impl<M> Sink<Outgoing<M>> for LaneSink<M> {
    type Error = Ended;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Outgoing<M>) -> Result<(), Ended> {
        self.send_now(message)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Ended>> {
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

/// Reports the rounds of the first item as progress of the session.
pub struct RoundTracer {
    report: Option<Box<dyn Fn(u8, &'static str) + Send + Sync>>,
    round: u8,
}

impl Tracer for RoundTracer {
    fn trace_event(&mut self, event: Traced) {
        let Some(report) = &self.report else { return };
        match event {
            Traced::RoundBegins { .. } => self.round = self.round.saturating_add(1),
            Traced::Stage { name } => report(self.round.max(1), name),
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
    let (out, mut outgoing) = unbounded();
    let mut wires = Vec::new();
    let mut running = FuturesUnordered::new();
    for item in 0..io.domain.items {
        let (protocol, incoming) = unbounded();
        let (online, online_incoming) = unbounded();
        wires.push(Wires { protocol, online });
        let sink = LaneSink {
            item,
            out: out.clone(),
        };
        let incomings: Incomings<M> = incoming.map(Ok::<_, Infallible> as fn(_) -> _);
        let lane = Lane {
            item,
            party: MpcParty::connected((incomings, sink.clone())),
            sink,
            online: online_incoming,
            tracer: tracer(io.emitter(), io.domain.kind.rounds(), item),
        };
        let handle: RemoteHandle<_> = io
            .pool
            .spawn_with_handle(make(lane))
            .map_err(|_| Failure::internal("the engine's threads have ended"))?;
        running.push(handle.map(move |result| (item, result)));
    }
    drop(out);

    let mut results: Vec<Option<T>> = wires.iter().map(|_| None).collect();
    let mut next_id = 0;
    loop {
        futures::select_biased! {
            message = outgoing.next() => {
                if let Some((item, message)) = message {
                    send(io, item, &message)?;
                }
            }
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
                let msg: M = codec::decode(&inbound.body)
                    .map_err(|_| refuse("does not decode"))?;
                if msg.slot() != inbound.slot {
                    return Err(refuse("is of another round than its header says"));
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
    while let Some(Some((item, message))) = outgoing.next().now_or_never() {
        send(io, item, &message)?;
    }
    results
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Failure::internal("an item of the session ended without a result"))
}

fn send<S: Send + 'static, M: Wire>(io: &Io<S>, item: u16, message: &Outgoing<M>) -> Result<(), Failure> {
    let body = codec::encode(&message.msg)?;
    let to = match message.recipient {
        MessageDestination::AllParties => None,
        MessageDestination::OneParty(at) => Some(
            *io.parties
                .get(usize::from(at))
                .ok_or_else(|| Failure::internal("the protocol addressed a party that does not exist"))?,
        ),
    };
    io.send(to, item, message.msg.slot(), &body);
    Ok(())
}

fn tracer<S: Send + 'static>(emitter: Arc<Emitter<S>>, rounds: u8, item: u16) -> RoundTracer {
    let report = (item == 0).then(|| {
        Box::new(move |round: u8, step: &'static str| {
            emitter.emit(Event::Progress {
                round: round.min(rounds),
                rounds,
                step,
            });
        }) as Box<dyn Fn(u8, &'static str) + Send + Sync>
    });
    RoundTracer { report, round: 0 }
}
