//! The process's memory of what was used: consumed presignature ids and the highest burn counter.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::failure::{Code, Failure};

/// Proof of the caller that a presignature was burned durably before its partial is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurnReceipt {
    pub id: [u8; 32],
    pub epoch: u64,
    /// The store's durable, ever-rising count of burns.
    pub burn_counter: u64,
}

#[derive(Default)]
struct Seen {
    consumed: HashSet<[u8; 32]>,
    highest: Option<u64>,
}

/// Guards single use within one process; across restarts the durable burn does.
#[derive(Default)]
pub struct Receipts(Mutex<Seen>);

impl Receipts {
    /// Refuses a receipt that cannot be good, and consumes nothing.
    pub fn check(&self, receipt: &BurnReceipt) -> Result<(), Failure> {
        refuse(&self.0.lock().unwrap_or_else(PoisonError::into_inner), receipt)
    }

    /// Checks again and consumes, in one step: of two calls with one id at most one succeeds.
    pub fn consume(&self, receipt: &BurnReceipt) -> Result<(), Failure> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refuse(&seen, receipt)?;
        seen.consumed.insert(receipt.id);
        seen.highest = Some(receipt.burn_counter);
        Ok(())
    }
}

fn refuse(seen: &Seen, receipt: &BurnReceipt) -> Result<(), Failure> {
    if seen.consumed.contains(&receipt.id) {
        return Err(Failure::new(
            Code::PresignatureUsed,
            "this presignature has been used; take another one",
        ));
    }
    if seen
        .highest
        .is_some_and(|highest| receipt.burn_counter <= highest)
    {
        return Err(Failure::new(
            Code::PresignatureUsed,
            "the burn counter of the receipt does not rise; burn the presignature durably first",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(id: u8, burn_counter: u64) -> BurnReceipt {
        BurnReceipt {
            id: [id; 32],
            epoch: 0,
            burn_counter,
        }
    }

    #[test]
    fn an_id_is_consumed_once_and_counters_only_rise() {
        let receipts = Receipts::default();
        receipts.consume(&receipt(1, 5)).unwrap();
        for refused in [receipt(1, 6), receipt(2, 5), receipt(2, 4)] {
            assert_eq!(
                receipts.consume(&refused).unwrap_err().code,
                Code::PresignatureUsed
            );
        }
        receipts.check(&receipt(2, 6)).unwrap();
        receipts.consume(&receipt(2, 6)).unwrap();
    }

    #[test]
    fn of_many_threads_one_consumes_an_id() {
        let receipts = Receipts::default();
        let won: usize = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..16u64)
                .map(|counter| {
                    scope.spawn({
                        let receipts = &receipts;
                        move || usize::from(receipts.consume(&receipt(7, counter)).is_ok())
                    })
                })
                .collect();
            tries.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(won, 1);
    }
}
