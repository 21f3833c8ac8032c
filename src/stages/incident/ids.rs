//! Makes UUIDs of version 7 out of the time that is given, so that a simulated clock and a seed repeat them.

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::{Builder, Uuid};

/// Makes ids.
#[derive(Debug)]
pub struct Ids {
    random: StdRng,
}

impl Ids {
    /// Makes ids that nobody can foresee.
    #[must_use]
    pub fn random() -> Self {
        Self {
            random: rand::make_rng(),
        }
    }

    /// Makes the same ids again for the same seed and times.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Returns the next id.
    pub fn next(&mut self, now: Timestamp) -> Uuid {
        let mut bytes = [0; 10];
        self.random.fill_bytes(&mut bytes);
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }
}
