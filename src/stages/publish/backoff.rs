//! Waits longer after each failure, and never at the same moment as others that failed with it.

use std::time::Duration;

use rand::{Rng, RngExt as _};
use serde::{Deserialize, Serialize};

/// Exponential back-off with jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// The first wait, in milliseconds.
    pub first_ms: u64,
    /// The longest wait, in milliseconds.
    pub longest_ms: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first_ms: 500,
            longest_ms: 60_000,
        }
    }
}

impl Backoff {
    /// Returns how long to wait after `failures` failures in a row: doubled each time, then between half of it and all
    /// of it.
    pub fn wait(&self, failures: u32, rng: &mut impl Rng) -> Duration {
        let doublings = failures.saturating_sub(1).min(32);
        let whole = self
            .first_ms
            .saturating_mul(1 << doublings)
            .min(self.longest_ms)
            .max(1);
        Duration::from_millis(rng.random_range(whole.div_ceil(2)..=whole))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_with_jitter_below() {
        let backoff = Backoff::default();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (failures, whole_ms) in [(1, 500), (2, 1000), (3, 2000), (8, 60_000), (u32::MAX, 60_000)] {
            for _ in 0..100 {
                let wait = backoff.wait(failures, &mut rng).as_millis();
                assert!((whole_ms / 2..=whole_ms).contains(&wait), "{failures}: {wait}");
            }
        }
    }

    #[test]
    fn two_sinks_that_fail_together_come_back_apart() {
        let backoff = Backoff::default();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let waits = (0..20)
            .map(|_| backoff.wait(6, &mut rng))
            .collect::<std::collections::BTreeSet<_>>();
        assert!(waits.len() > 15);
    }
}
