//! The envelope of one round message inside a session: fixed binary header, then the protocol's own body.
//!
//! Layout: version (1) ‖ kind (1) ‖ round (1) ‖ broadcast (1) ‖ item (2, big endian) ‖ execution id (32) ‖ context (32) ‖ body.
//! The context is the hash of everything the signers must agree on; peers that disagree find out here, before any
//! proof could make one of them look guilty.

use crate::failure::{Code, Failure};

const VERSION: u8 = 1;
pub const HEADER: usize = 6 + 32 + 32;

/// What a session does; also the domain of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    EcdsaAux = 1,
    EcdsaKeygen = 2,
    FrostKeygen = 3,
    EcdsaPresign = 4,
    EcdsaSign = 5,
    FrostSign = 6,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Kind::EcdsaAux => "cggmp24-aux",
            Kind::EcdsaKeygen => "cggmp24-keygen",
            Kind::FrostKeygen => "frost-keygen",
            Kind::EcdsaPresign => "cggmp24-presign",
            Kind::EcdsaSign => "cggmp24-sign",
            Kind::FrostSign => "frost-sign",
        }
    }

    /// Every message that a peer may send once, with the longest body it may have.
    pub const fn slots(self) -> &'static [(Slot, usize)] {
        const KIB: usize = 1024;
        const fn all(round: u8, limit: usize) -> (Slot, usize) {
            (
                Slot {
                    round,
                    broadcast: true,
                },
                limit,
            )
        }
        const fn one(round: u8, limit: usize) -> (Slot, usize) {
            (
                Slot {
                    round,
                    broadcast: false,
                },
                limit,
            )
        }
        const AUX: &[(Slot, usize)] = &[all(1, KIB), all(2, KIB), all(3, 1024 * KIB), one(4, 1024 * KIB)];
        const ECDSA_KEYGEN: &[(Slot, usize)] = &[
            all(1, KIB),
            all(2, KIB),
            all(3, 64 * KIB),
            one(3, KIB),
            all(4, KIB),
        ];
        const FROST_KEYGEN: &[(Slot, usize)] = &[all(1, KIB), all(2, KIB), all(3, 64 * KIB), one(4, KIB)];
        const SIGN: &[(Slot, usize)] = &[
            all(1, 64 * KIB),
            one(1, 64 * KIB),
            all(2, KIB),
            one(3, 128 * KIB),
            all(4, 4 * KIB),
            all(5, KIB),
        ];
        const FROST_SIGN: &[(Slot, usize)] = &[all(1, 1024 * KIB), all(2, 1024 * KIB)];
        match self {
            Kind::EcdsaAux => AUX,
            Kind::EcdsaKeygen => ECDSA_KEYGEN,
            Kind::FrostKeygen => FROST_KEYGEN,
            // Presigning ends before the online round.
            Kind::EcdsaPresign => SIGN.split_at(SIGN.len() - 1).0,
            Kind::EcdsaSign => SIGN,
            Kind::FrostSign => FROST_SIGN,
        }
    }

    /// Number of rounds, for progress.
    pub fn rounds(self) -> u8 {
        self.slots().iter().map(|(slot, _)| slot.round).max().unwrap_or(0)
    }
}

/// A place in the protocol that each peer fills at most once per item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    pub round: u8,
    pub broadcast: bool,
}

/// What all messages of one session share.
#[derive(Clone, Debug)]
pub struct FrameDomain {
    pub kind: Kind,
    pub execution_id: [u8; 32],
    pub context: [u8; 32],
    pub items: u16,
}

/// A message in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub item: u16,
    pub slot: Slot,
    pub body: &'a [u8],
}

impl FrameDomain {
    pub fn write(&self, item: u16, slot: Slot, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + body.len());
        out.extend_from_slice(&[VERSION, self.kind as u8, slot.round, u8::from(slot.broadcast)]);
        out.extend_from_slice(&item.to_be_bytes());
        out.extend_from_slice(&self.execution_id);
        out.extend_from_slice(&self.context);
        out.extend_from_slice(body);
        out
    }

    /// Reads a payload of `from`.
    ///
    /// # Errors
    /// `invalid-round-message` naming `from`; `equivocation` naming nobody where the peer is in the same execution with other
    /// parameters, since either side may have been told wrong ones.
    pub fn read<'a>(&self, from: u16, payload: &'a [u8]) -> Result<Frame<'a>, Failure> {
        let refuse = |round: u8, why: &str| {
            Failure::bad_message(from, round, format!("node {from} sent a message that {why}"))
        };
        if payload.len() < HEADER {
            return Err(refuse(0, "is shorter than its header"));
        }
        let (header, body) = payload.split_at(HEADER);
        let slot = Slot {
            round: header[2],
            broadcast: header[3] == 1,
        };
        if header[0] != VERSION {
            return Err(refuse(0, "has an unknown version"));
        }
        if header[1] != self.kind as u8 {
            return Err(refuse(0, "belongs to another kind of session"));
        }
        if header[6..38] != self.execution_id {
            return Err(refuse(0, "belongs to another execution"));
        }
        if header[3] > 1 {
            return Err(refuse(0, "has a malformed header"));
        }
        let Some(&(_, limit)) = self.kind.slots().iter().find(|(known, _)| *known == slot) else {
            return Err(refuse(0, "names a round that this protocol does not have"));
        };
        if header[38..70] != self.context {
            return Err(Failure::new(
                Code::Equivocation,
                format!(
                    "node {from} takes part in this execution with other parameters (key, epoch, signers, path or message)"
                ),
            )
            .at_round(slot.round));
        }
        if body.len() > limit {
            return Err(refuse(slot.round, "is longer than its round allows"));
        }
        let item = u16::from_be_bytes([header[4], header[5]]);
        if item >= self.items {
            return Err(refuse(
                slot.round,
                "names an item that this session does not have",
            ));
        }
        Ok(Frame { item, slot, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::{OsRng, RngCore};

    fn domain() -> FrameDomain {
        FrameDomain {
            kind: Kind::EcdsaSign,
            execution_id: [1; 32],
            context: [2; 32],
            items: 3,
        }
    }

    const SLOT: Slot = Slot {
        round: 4,
        broadcast: true,
    };

    #[test]
    fn what_is_written_is_read() {
        let payload = domain().write(2, SLOT, b"body");
        assert_eq!(
            domain().read(3, &payload).unwrap(),
            Frame {
                item: 2,
                slot: SLOT,
                body: b"body"
            }
        );
    }

    #[test]
    fn a_frame_out_of_place_names_its_sender() {
        let good = domain().write(2, SLOT, b"body");
        let altered = |at: usize, to: u8| {
            let mut payload = good.clone();
            payload[at] = to;
            domain().read(3, &payload).unwrap_err()
        };
        for (at, to) in [
            (0, 2),
            (1, 9),
            (2, 6),
            (2, 0),
            (3, 0),
            (3, 2),
            (5, 3),
            (4, 1),
            (6, 0),
            (37, 0),
        ] {
            let failure = altered(at, to);
            assert_eq!(
                (failure.code, failure.blamed),
                (Code::InvalidRoundMessage, vec![3]),
                "byte {at}"
            );
        }
        let long = domain().write(2, SLOT, &vec![0; 4097]);
        assert_eq!(domain().read(3, &long).unwrap_err().blamed, vec![3]);
        for cut in 0..HEADER {
            assert_eq!(domain().read(3, &good[..cut]).unwrap_err().blamed, vec![3]);
        }
    }

    #[test]
    fn another_context_blames_nobody() {
        let mut payload = domain().write(2, SLOT, b"body");
        payload[50] ^= 1;
        let failure = domain().read(3, &payload).unwrap_err();
        assert_eq!((failure.code, failure.blamed), (Code::Equivocation, vec![]));
    }

    #[test]
    fn random_bytes_never_panic_and_never_pass() {
        for length in 0..300 {
            let mut payload = vec![0; length];
            OsRng.fill_bytes(&mut payload);
            assert!(domain().read(3, &payload).is_err());
        }
    }
}
