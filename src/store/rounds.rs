//! The daily round of retention: when it is due is remembered in the store, so that neither a restart nor a long stop
//! makes it come twice a day or not at all.

use jiff::{SignedDuration, Timestamp};

use super::error::StoreError;
use super::handle::Store;
use super::retention::{RetentionPolicy, RetentionSummary};

/// How long after a round the next one is due.
const EVERY: SignedDuration = SignedDuration::from_hours(24);
const LAST_ROUND: &str = "retention_round";

/// Enforces one policy once a day.
#[derive(Clone, Copy, Debug)]
pub struct RetentionRounds {
    policy: RetentionPolicy,
}

impl RetentionRounds {
    /// Makes the rounds of a policy.
    #[must_use]
    pub const fn new(policy: RetentionPolicy) -> Self {
        Self { policy }
    }

    /// Makes a round where one is due; `None` where the last was less than a day ago. A round that failed is due again
    /// at once: what it had deleted is written down and stays deleted.
    pub fn tick(&self, store: &Store, now: Timestamp) -> Result<Option<RetentionSummary>, StoreError> {
        let last = store.setting(LAST_ROUND)?;
        // A time that cannot be read, or that lies ahead because the clock was set back, is no reason to wait.
        let is_recent = last
            .and_then(|text| text.parse::<Timestamp>().ok())
            .is_some_and(|last| last <= now && now.duration_since(last) < EVERY);
        if is_recent {
            return Ok(None);
        }
        let summary = store.enforce_retention(&self.policy, now)?;
        store.set_setting(LAST_ROUND, &now.to_string())?;
        Ok(Some(summary))
    }
}
