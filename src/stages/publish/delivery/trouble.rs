//! What a failure means: an outage of the sink, an incident that waits, or a dead letter.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::running::Running;
use super::{DeliveryLoop, blocking};
use crate::stages::publish::sink::{Delivery, Failure, SinkError};
use crate::store::StoreError;

/// How many failures in a row, without a success between, make an outage of events that were merely not taken.
const OUTAGE_AFTER: u32 = 8;

/// How many failing events are remembered.
const REMEMBERED_FAILURES: usize = 10_000;

impl DeliveryLoop {
    pub(super) fn come_back(&self, running: &mut Running) {
        running.streak = 0;
        running.resume_at = None;
        if self.counters.is_down.swap(false, Ordering::Relaxed) {
            tracing::info!(sink = self.options.name, "sink takes events again");
        }
    }

    /// Decides what a failure means; returns false when the sink wants no more.
    pub(super) async fn note_failure(
        &mut self,
        running: &mut Running,
        deliveries: &[Delivery],
        error: &SinkError,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        let why = error.chain();
        let (store, name) = (self.store.clone(), self.options.name.clone());
        if error.disables() {
            tracing::error!(
                sink = name,
                error = why,
                "receiver is gone for good: sink is switched off until the next start"
            );
            blocking(move || store.disable_sink(&name, &why)).await?;
            return Ok(false);
        }
        let mut dead = Vec::new();
        let mut alive = Vec::new();
        for delivery in deliveries {
            if error.failure() == Failure::Refused || self.is_hopeless(running, delivery, error, now) {
                dead.push(delivery.sequence);
            } else {
                alive.push(delivery);
            }
        }
        for seq in &dead {
            tracing::error!(
                sink = name,
                seq,
                error = why,
                "event is set aside: see `emberwatch outbox list`"
            );
            running.failures.remove(seq);
        }
        self.counters.dead.fetch_add(dead.len() as u64, Ordering::Relaxed);
        let first = alive
            .first()
            .map(|delivery| (delivery.sequence, delivery.attempts));
        let wait = self.wait_after(running, error, first.map_or(0, |(_, attempts)| attempts));
        let next = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        blocking(move || {
            for seq in dead {
                store.dead_letter(&name, seq, &why, now)?;
            }
            // The first says why it waits; the others of its call wait behind it, or come with it again.
            match first {
                Some((seq, _)) => store.failed(&name, seq, &why, next),
                None => Ok(()),
            }
        })
        .await?;
        Ok(true)
    }

    fn is_hopeless(
        &self,
        running: &mut Running,
        delivery: &Delivery,
        error: &SinkError,
        now: Timestamp,
    ) -> bool {
        if now.duration_since(delivery.time) > self.options.give_up_after {
            return true;
        }
        if error.failure() != Failure::Busy {
            return false;
        }
        if running.failures.len() > REMEMBERED_FAILURES {
            running.failures.clear();
        }
        let successes = self.counters.delivered.load(Ordering::Relaxed);
        let (count, seen) = running
            .failures
            .entry(delivery.sequence)
            .or_insert((0, successes));
        // Only a failure beside successes speaks against the event.
        if *count == 0 || *seen != successes {
            *count += 1;
            *seen = successes;
        }
        *count >= self.options.max_attempts.max(1)
    }

    /// Notes the failure for the whole sink, and returns how long the event has to wait.
    fn wait_after(&mut self, running: &mut Running, error: &SinkError, attempts: u32) -> Duration {
        running.streak = match error.failure() {
            Failure::Refused | Failure::Gone => return Duration::ZERO,
            Failure::Unreachable => running.streak.saturating_add(1).max(1),
            Failure::Busy if self.sink.batch_size() > 1 || running.streak > 0 => {
                running.streak.saturating_add(1)
            }
            Failure::Busy => self.busy_streak(running),
        };
        if running.streak == 0 {
            let wait = self
                .options
                .backoff
                .wait(attempts.saturating_add(1), &mut self.rng);
            return error.retry_after().unwrap_or(wait);
        }
        let backoff = self.options.backoff.wait(running.streak, &mut self.rng);
        let wait = error.retry_after().unwrap_or(backoff);
        // Calls that were under way when the sink went down must not lengthen the wait one by one.
        let now = Instant::now();
        if running.resume_at.is_none_or(|at| at <= now) {
            running.resume_at = Some(now + wait);
        } else {
            running.streak = running.streak.saturating_sub(1).max(1);
        }
        if !self.counters.is_down.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                sink = self.options.name,
                error = error.chain(),
                "sink cannot be reached: events wait in the outbox"
            );
        }
        wait
    }

    /// Returns 1 when nothing has got through for so many failures that the sink itself must be at fault.
    fn busy_streak(&self, running: &Running) -> u32 {
        let successes = self.counters.delivered.load(Ordering::Relaxed);
        let failing = running
            .failures
            .values()
            .filter(|(_, seen)| *seen == successes)
            .count();
        u32::from(failing >= OUTAGE_AFTER as usize)
    }
}
