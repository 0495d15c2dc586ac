//! From the crate's errors to a code and node indices.
//!
//! `cggmp24` 0.7 keeps its reasons private, so their `Debug` text is what there is to read. No byte of a peer enters that text: it holds
//! names of variants, numbers of parties and message ids only.

use std::fmt::Debug;

use crate::failure::{Code, Failure};

/// Maps `error` of a protocol over `parties` (node indices in protocol order).
pub fn failure(error: &impl Debug, parties: &[u16]) -> Failure {
    let text = format!("{error:?}");
    if text.contains("NotReliable") {
        // Whose hash differs may be the one who was lied to: the echo proves a split, not its author.
        return Failure::new(
            Code::Equivocation,
            "the parties saw different broadcasts in the first round; the session ended and no secret was used",
        )
        .at_round(2);
    }
    if text.contains("SignatureInvalid") {
        return Failure::new(Code::InvalidSignature, "the combined signature does not verify");
    }
    if !text.contains("Aborted") {
        return Failure::internal(format!("the protocol failed at this node: {}", variants(&text)));
    }
    let blamed = faulty(&text)
        .into_iter()
        .filter_map(|index| parties.get(index).copied());
    Failure::new(
        Code::InvalidRoundMessage,
        format!("a proof or opening of a peer is invalid: {}", variants(&text)),
    )
    .at_round(round_of(&text))
    .blaming(blamed)
}

/// Names of error variants, without their data.
fn variants(text: &str) -> String {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()))
        .filter(|word| !matches!(*word, "AbortBlame" | "Some" | "None"))
        .take(4)
        .collect::<Vec<_>>()
        .join("/")
}

/// The round whose message failed, by the name of the check.
fn round_of(text: &str) -> u8 {
    const ROUNDS: [(&str, u8); 11] = [
        ("InvalidDecommitment", 3),
        ("InvalidRingPedersenParameters", 3),
        ("InvalidModProof", 4),
        ("InvalidFacProof", 4),
        ("InvalidDataSize", 3),
        ("FeldmanVerificationFailed", 3),
        ("MissingChainCode", 3),
        ("InvalidSchnorrProof", 4),
        ("EncProofOfK", 1),
        ("InvalidPsiPrimePrime", 4),
        ("InvalidPsi", 3),
    ];
    if text.contains("MismatchedDelta") {
        return 4;
    }
    ROUNDS
        .iter()
        .find(|(name, _)| text.contains(name))
        .map_or(0, |&(_, round)| round)
}

/// Party numbers after `faulty_party: ` and inside `parties: [...]` where plain numbers stand.
fn faulty(text: &str) -> Vec<usize> {
    let number = |rest: &str| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().ok()
    };
    let mut found: Vec<usize> = text.split("faulty_party: ").skip(1).filter_map(number).collect();
    if let Some((_, list)) = text.split_once("parties: [") {
        let list = list.split(']').next().unwrap_or_default();
        found.extend(list.split(", ").filter_map(|entry| entry.parse::<usize>().ok()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Text(&'static str);
    impl Debug for Text {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    #[test]
    fn numbers_of_parties_become_node_indices() {
        let parties = [1, 2, 4, 5];
        let one = failure(
            &Text(
                "SigningError(Aborted(EncProofOfK([(AbortBlame { faulty_party: 2, data_message: 7, proof_message: 8 }, InvalidProof(X))])))",
            ),
            &parties,
        );
        assert_eq!(
            (one.code, one.round, one.blamed),
            (Code::InvalidRoundMessage, 1, vec![4])
        );
        let two = failure(
            &Text("KeygenError(Aborted(FeldmanVerificationFailed { parties: [0, 3] }))"),
            &parties,
        );
        assert_eq!((two.round, two.blamed), (3, vec![1, 5]));
        let aux = failure(
            &Text(
                "KeyRefreshError(Aborted(ProtocolAborted { reason: InvalidModProof, parties: [AbortBlame { faulty_party: 1, data_message: 3, proof_message: 4 }] }))",
            ),
            &parties,
        );
        assert_eq!((aux.round, aux.blamed), (4, vec![2]));
    }

    #[test]
    fn a_split_broadcast_and_a_mismatch_blame_nobody() {
        let parties = [1, 2, 3];
        let split = failure(
            &Text(
                "SigningError(Aborted(Round1aNotReliable([AbortBlame { faulty_party: 0, data_message: 1, proof_message: 1 }])))",
            ),
            &parties,
        );
        assert_eq!((split.code, split.blamed), (Code::Equivocation, vec![]));
        let mismatch = failure(&Text("SigningError(Aborted(MismatchedDelta))"), &parties);
        assert_eq!(
            (mismatch.code, mismatch.round, mismatch.blamed),
            (Code::InvalidRoundMessage, 4, vec![])
        );
        assert_eq!(
            failure(&Text("SigningError(Bug(X))"), &parties).code,
            Code::Internal
        );
    }
}
