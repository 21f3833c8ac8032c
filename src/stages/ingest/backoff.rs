//! How long to wait before trying again.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The wait before the second attempt.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait, before jitter.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Health of this length forgets all failures.
pub const HEALTHY_AFTER: Duration = Duration::from_mins(1);

/// Doubles the wait with each failure, from 1 s to 30 s, each ± 20 % so that a hundred cameras behind one switch do not
/// come back in the same instant. Never gives up.
#[derive(Debug)]
pub struct Backoff {
    failures: u32,
    jitter: ChaCha8Rng,
}

impl Backoff {
    /// Makes a back-off; sources take different seeds.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            failures: 0,
            jitter: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Returns how many failures came in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Forgets the failures.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure and returns how long to wait.
    pub fn next_wait(&mut self) -> Duration {
        let doubled = FIRST_WAIT.saturating_mul(1 << self.failures.min(5));
        self.failures = self.failures.saturating_add(1);
        self.jittered(doubled.min(LONGEST_WAIT))
    }

    /// Counts a failure that soon trying again makes worse (a refused password may lock the account).
    pub fn longest_wait(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.jittered(LONGEST_WAIT)
    }

    fn jittered(&mut self, wait: Duration) -> Duration {
        wait.mul_f64(self.jitter.random_range(0.8..1.2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_one_second_to_thirty_and_stay_there() {
        let mut backoff = Backoff::new(1);
        for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0] {
            let wait = backoff.next_wait().as_secs_f64();
            assert!(
                (wait / expected - 1.0).abs() <= 0.2,
                "{wait} is not {expected} ± 20 %"
            );
        }
        backoff.reset();
        assert!(backoff.next_wait() < Duration::from_millis(1_201));
    }

    #[test]
    fn ten_thousand_failures_do_not_overflow() {
        let mut backoff = Backoff::new(2);
        for _ in 0..10_000 {
            assert!(backoff.next_wait() <= Duration::from_secs(36));
        }
        assert_eq!(backoff.failures(), 10_000);
    }

    #[test]
    fn two_sources_wait_differently() {
        assert_ne!(Backoff::new(1).next_wait(), Backoff::new(2).next_wait());
    }
}
