//! Search for a safe prime p = 2q + 1: an interval of candidates q ≡ 5 (mod 6) is sieved for q and p together by all primes
//! below 2²²; what is left is tested by Fermat to base 2, then by Miller–Rabin.
//!
//! q ≡ 5 (mod 6) is the only class in which neither q nor 2q + 1 is divisible by 2 or 3.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use cggmp24::backend::{Integer, IsPrime};
use rand_core::{CryptoRng, RngCore};

const SIEVE_LIMIT: u32 = 1 << 22;
/// Candidates in one interval. At 1536 bits it holds one or two safe primes on average.
const INTERVAL: u32 = 1 << 18;
const MILLER_RABIN_ROUNDS: u32 = 40;

static SMALL_PRIMES: OnceLock<Vec<u32>> = OnceLock::new();

/// All primes from 5 to 2²² (2 and 3 are settled by q ≡ 5 mod 6).
fn small_primes() -> &'static [u32] {
    SMALL_PRIMES.get_or_init(|| {
        let limit = SIEVE_LIMIT as usize;
        let mut composite = vec![false; limit];
        let mut primes = Vec::with_capacity(300_000);
        for n in 2..limit {
            if composite[n] {
                continue;
            }
            if n > 3 {
                primes.push(n as u32);
            }
            for multiple in (n * n..limit).step_by(n) {
                composite[multiple] = true;
            }
        }
        primes
    })
}

/// Inverse of `a` modulo the odd prime `r`, by Fermat's little theorem.
fn inverse(a: u32, r: u32) -> u32 {
    let (mut base, mut exponent, mut result) = (u64::from(a % r), r - 2, 1u64);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result * base % u64::from(r);
        }
        base = base * base % u64::from(r);
        exponent >>= 1;
    }
    result as u32
}

/// Marks the k in 0..INTERVAL for which q0 + 6k or 2(q0 + 6k) + 1 has a factor below 2²².
fn sieve(q0: &Integer) -> Vec<bool> {
    let mut struck = vec![false; INTERVAL as usize];
    for &r in small_primes() {
        let at = q0.mod_u(r);
        let sixth = u64::from(inverse(6, r));
        // q ≡ 0, and 2q + 1 ≡ 0, that is q ≡ (r − 1) / 2.
        for target in [0, (r - 1) / 2] {
            let distance = u64::from((target + r - at) % r);
            let first = (distance * sixth % u64::from(r)) as usize;
            for k in (first..INTERVAL as usize).step_by(r as usize) {
                struck[k] = true;
            }
        }
    }
    struck
}

fn fermat(n: &Integer) -> bool {
    let two = Integer::from(2u32);
    let exponent = n - &Integer::one();
    two.pow_mod_ref(&exponent, n).is_some_and(|power| power.is_one())
}

fn miller_rabin(n: &Integer, rng: &mut (impl RngCore + CryptoRng)) -> bool {
    matches!(
        n.is_probably_prime(MILLER_RABIN_ROUNDS, rng),
        IsPrime::Yes | IsPrime::Probably
    )
}

/// Finds a safe prime of exactly `bits` bits, or `None` once `stop` is set.
///
/// Every search starts from fresh randomness: two primes of one interval would lie so close together that their product is easy to factor.
pub fn safe_prime(bits: u32, rng: &mut (impl RngCore + CryptoRng), stop: &AtomicBool) -> Option<Integer> {
    loop {
        let mut q0 = Integer::random_bits(bits - 1, rng);
        q0.set_bit(bits - 2, true);
        let remainder = q0.mod_u(6);
        q0 += (5 + 6 - remainder) % 6;
        for (k, _) in sieve(&q0).iter().enumerate().filter(|(_, struck)| !**struck) {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let q = &q0 + &Integer::from(6 * k as u32);
            if !fermat(&q) {
                continue;
            }
            let mut p = &q << 1;
            p += 1u32;
            let found = fermat(&p)
                && miller_rabin(&q, rng)
                && miller_rabin(&p, rng)
                && p.significant_bits() == u64::from(bits);
            if found {
                return Some(p);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::OsRng;

    fn is_prime(n: &Integer) -> bool {
        miller_rabin(n, &mut OsRng)
    }

    #[test]
    fn what_is_found_is_a_safe_prime_of_the_asked_length() {
        for bits in [128, 192, 256] {
            let p = safe_prime(bits, &mut OsRng, &AtomicBool::new(false)).unwrap();
            let q = &(&p - &Integer::one()) >> 1;
            assert!(is_prime(&p) && is_prime(&q));
            assert_eq!(p.significant_bits(), u64::from(bits));
        }
    }

    #[test]
    fn the_sieve_strikes_exactly_what_has_a_small_factor() {
        let mut q0 = Integer::random_bits(160, &mut OsRng);
        q0.set_bit(159, true);
        let remainder = q0.mod_u(6);
        q0 += (5 + 6 - remainder) % 6;
        let struck = sieve(&q0);
        for k in (0..400u32).chain(INTERVAL - 400..INTERVAL) {
            let q = &q0 + &Integer::from(6 * k);
            let p = &(&q << 1) + &Integer::one();
            let divisible = small_primes().iter().any(|&r| q.mod_u(r) == 0 || p.mod_u(r) == 0);
            assert_eq!(struck[k as usize], divisible, "k = {k}");
            if struck[k as usize] {
                assert!(!(is_prime(&q) && is_prime(&p)));
            }
        }
    }

    #[test]
    fn fermat_agrees_with_the_library_on_random_numbers() {
        for _ in 0..300 {
            let mut n = Integer::random_bits(96, &mut OsRng);
            n.set_bit(0, true);
            n.set_bit(95, true);
            assert_eq!(fermat(&n), is_prime(&n));
        }
    }

    #[test]
    fn a_stopped_search_ends() {
        assert!(safe_prime(1536, &mut OsRng, &AtomicBool::new(true)).is_none());
    }
}
