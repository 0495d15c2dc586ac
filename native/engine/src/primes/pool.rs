//! Background search for primes on threads of low priority.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rand_core::{OsRng, RngCore};

use crate::failure::Failure;
use crate::level::PRIME_BITS;
use crate::primes::{seal, sieve};
use crate::vault::Vault;

/// A prime as it is handed out: sealed, with the id it is sealed under.
pub type SealedPrime = ([u8; 32], Vec<u8>);

/// A running search; it ends when it has found what was asked for, when stopped, or when dropped.
pub struct Search {
    stop: Arc<AtomicBool>,
    running: Arc<AtomicUsize>,
}

/// Counts a thread of a search until it ends, however it ends.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Search {
    /// Starts `threads` threads that together find `count` primes and hand each to `found`.
    ///
    /// # Errors
    /// `internal` when the system refuses threads.
    pub fn start(
        vault: Arc<Vault>,
        count: usize,
        threads: usize,
        found: impl Fn(Result<SealedPrime, Failure>) + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let search = Self {
            stop: Arc::new(AtomicBool::new(false)),
            running: Arc::new(AtomicUsize::new(0)),
        };
        let left = Arc::new(AtomicUsize::new(count));
        let found = Arc::new(found);
        for number in 0..threads.min(count) {
            search.running.fetch_add(1, Ordering::SeqCst);
            let running = Running(Arc::clone(&search.running));
            let (stop, left) = (Arc::clone(&search.stop), Arc::clone(&left));
            let (vault, found) = (Arc::clone(&vault), Arc::clone(&found));
            std::thread::Builder::new()
                .name(format!("cairn-primes-{number}"))
                .spawn(move || {
                    let _running = running;
                    // On Linux this lowers the calling thread only. A system that refuses merely searches at normal priority.
                    let _ = rustix::process::nice(19);
                    while !stop.load(Ordering::Relaxed) && take(&left) {
                        let one = catch_unwind(AssertUnwindSafe(|| one(&vault, &stop)))
                            .unwrap_or_else(|_| Err(Failure::internal("the search for primes failed")));
                        match one {
                            Ok(Some(prime)) => found(Ok(prime)),
                            Ok(None) => return,
                            Err(failure) => return found(Err(failure)),
                        }
                    }
                })
                .map_err(|error| {
                    Failure::internal(format!("could not start the search for primes: {error}"))
                })?;
        }
        Ok(search)
    }

    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::SeqCst) > 0
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.stop();
    }
}

fn take(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
        .is_ok()
}

fn one(vault: &Vault, stop: &AtomicBool) -> Result<Option<SealedPrime>, Failure> {
    let Some(prime) = sieve::safe_prime(PRIME_BITS, &mut OsRng, stop) else {
        return Ok(None);
    };
    let mut id = [0; 32];
    OsRng.fill_bytes(&mut id);
    Ok(Some((id, seal(vault, &id, &prime)?)))
}
