//! One delivery loop: takes events from the outbox in order, hands them to one sink, and settles what became of each.
//!
//! Three kinds of trouble are told apart. A sink that cannot be reached is an outage: everything waits, one event at a
//! time is tried, and no event is given up for it before its time is over. A sink that cannot take one event now delays
//! the incident of that event. A sink that will never take an event makes it a dead letter, and the incident goes on.

mod call;

mod refresh;

mod running;

mod trouble;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use self::call::{Call, Outcome, delivery_of};
use self::refresh::Refresh;
use self::running::Running;
use super::backoff::Backoff;
use super::evidence::{EvidenceFiles, InlineEvidence};
use super::filter::Filter;
use super::sink::{Delivery, Sink};
use crate::clock::Clock;
use crate::store::{Pending, Store, StoreError};

/// How many events are read from the outbox at once; a few KiB each, so about 4 MiB.
const WINDOW: usize = 1024;

/// How many events of one incident are sent before the outcome is written down.
const LANE: usize = 32;

/// How often the outbox is looked at when nobody says that there is something: another program may have put it there.
const POLL: Duration = Duration::from_secs(1);

/// How long to wait after the store failed.
const STORE_TROUBLE: Duration = Duration::from_secs(1);

/// How one loop behaves.
#[derive(Clone, Debug)]
pub struct LoopOptions {
    /// The sink's name in the outbox.
    pub name: String,
    /// Which events.
    pub filter: Filter,
    /// How long to wait after failures.
    pub backoff: Backoff,
    /// After how many failures, while other events got through, an event is a dead letter.
    pub max_attempts: u32,
    /// After how long an event is a dead letter, whatever the reason.
    pub give_up_after: SignedDuration,
    /// How many calls a minute.
    pub calls_per_minute: Option<u32>,
    /// Whether events are only logged.
    pub dry_run: bool,
    /// Which evidence travels inside events.
    pub inline_evidence: InlineEvidence,
}

/// What a loop has done since it started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events that the sink took.
    pub delivered: AtomicU64,
    /// Attempts that failed.
    pub failed: AtomicU64,
    /// Events that were given up.
    pub dead: AtomicU64,
    /// Events that the filter kept back.
    pub filtered: AtomicU64,
    /// Whether the sink cannot be reached at the moment.
    pub is_down: AtomicBool,
    /// Milliseconds from outbox to acknowledgement, of the event that was delivered last.
    pub last_latency_ms: AtomicU64,
}

/// One loop with all it needs.
pub struct DeliveryLoop {
    /// How it behaves.
    pub options: LoopOptions,
    /// Where events go.
    pub sink: Arc<dyn Sink>,
    /// Where events come from.
    pub store: Store,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Lends evidence files.
    pub evidence: Option<Arc<dyn EvidenceFiles>>,
    /// Makes waits uneven.
    pub rng: ChaCha8Rng,
    /// Says that there is something in the outbox.
    pub wake: Arc<Notify>,
    /// Says that the program ends: deliver what can be delivered, then return.
    pub stop: watch::Receiver<bool>,
    /// Counts.
    pub counters: Arc<Counters>,
}

impl DeliveryLoop {
    /// Runs until it is told to stop, or the sink wants no more.
    pub async fn run(mut self) {
        let mut running = Running::new(self.options.calls_per_minute);
        running.refresh = self.begin_refresh().await;
        loop {
            if running.stale
                && running.lanes.is_empty()
                && running.has_room(self.sink.concurrency())
                && let Err(error) = self.refill(&mut running).await
            {
                self.report_store_trouble(&error);
                running.stale = false;
                running.next_attempt = Some(Instant::now() + STORE_TROUBLE);
            }
            self.launch(&mut running);
            // Only where nothing is on its way, so that nothing old overtakes something new.
            if running.tasks.is_empty()
                && let Some(mut refresh) = running.refresh.take()
            {
                self.refresh(&mut refresh, running.streak > 0).await;
                running.refresh = Some(refresh);
            }
            if *self.stop.borrow() && running.is_drained() {
                break;
            }
            let Some(outcomes) = self.wait(&mut running).await else {
                continue;
            };
            match self.settle(&mut running, outcomes).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // What was delivered and could not be written down is sent again: the receiver knows the id.
                    running.stale = true;
                    self.report_store_trouble(&error);
                    tokio::time::sleep(STORE_TROUBLE).await;
                }
            }
        }
        running.tasks.shutdown().await;
        self.sink.close().await;
    }

    fn report_store_trouble(&self, error: &StoreError) {
        tracing::error!(
            sink = self.options.name,
            error = %super::sink::Chain(error),
            hint = error.hint(),
            "outbox cannot be used: delivery waits"
        );
    }

    /// Waits for whatever comes first; returns what has become of events, if that was it.
    async fn wait(&mut self, running: &mut Running) -> Option<Vec<Outcome>> {
        let now = Instant::now();
        let may_launch_at = match (&running.limiter, running.lanes.is_empty()) {
            (Some(limiter), false) => Some(limiter.ready_at()),
            _ => None,
        };
        let refresh_at = running.refresh.as_ref().map(Refresh::at);
        let deadline = [running.resume_at, running.next_attempt, may_launch_at, refresh_at]
            .into_iter()
            .flatten()
            .filter(|at| *at > now)
            .min()
            .map_or(now + POLL, |at| at.min(now + POLL));
        tokio::select! {
            Some(first) = running.tasks.join_next() => {
                let mut outcomes = vec![first];
                while let Some(next) = running.tasks.try_join_next() {
                    outcomes.push(next);
                }
                // Reading is dear beside sending: it waits until half of the calls are free.
                running.stale |= !running.exhausted && running.tasks.len() <= self.sink.concurrency() / 2;
                let outcomes = outcomes.into_iter().map(|outcome| match outcome {
                    Ok(outcome) => outcome,
                    // A sink that panics is a bug of ours; the events come again from the outbox.
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                });
                Some(outcomes.collect())
            }
            () = self.wake.notified() => {
                running.stale = true;
                None
            }
            () = tokio::time::sleep_until(deadline) => {
                running.stale = true;
                None
            }
            changed = self.stop.changed(), if !*self.stop.borrow() => {
                if changed.is_err() {
                    tracing::debug!(sink = self.options.name, "publisher has gone: delivery ends");
                }
                None
            }
        }
    }

    /// Reads the outbox and sorts what is to be sent by incident.
    async fn refill(&mut self, running: &mut Running) -> Result<(), StoreError> {
        running.stale = false;
        let limit = WINDOW + running.on_their_way;
        let most = u32::try_from(limit).unwrap_or(u32::MAX);
        let (store, name) = (self.store.clone(), self.options.name.clone());
        let now = self.clock.wall();
        let (pending, next_attempt) = blocking(move || {
            let pending = store.pending(&name, most, now)?;
            // While there is enough to send now, it does not matter what may be sent later.
            let next = if pending.len() < limit {
                store.next_attempt_at(&name, now)?
            } else {
                None
            };
            Ok((pending, next))
        })
        .await?;
        running.next_attempt = next_attempt.map(|at| {
            let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
            Instant::now() + wait
        });
        running.exhausted = pending.len() < limit;
        let mut lanes = BTreeMap::<String, Vec<Delivery>>::new();
        let mut unwanted = Vec::new();
        for pending in pending {
            if running.busy.contains(&pending.subject) {
                running.exhausted = false;
                continue;
            }
            if self.wants(&pending) {
                lanes
                    .entry(pending.subject.clone())
                    .or_default()
                    .push(delivery_of(pending));
            } else {
                unwanted.push(pending.seq);
            }
        }
        running.lanes = lanes
            .into_values()
            .filter_map(|lane| {
                lane.first()
                    .map(|first| first.sequence)
                    .map(|first| (first, lane))
            })
            .collect();
        if !unwanted.is_empty() {
            let count = unwanted.len() as u64;
            let (store, name) = (self.store.clone(), self.options.name.clone());
            blocking(move || store.filtered(&name, &unwanted, now)).await?;
            self.counters.filtered.fetch_add(count, Ordering::Relaxed);
        }
        Ok(())
    }

    fn wants(&self, pending: &Pending) -> bool {
        // An event that cannot be read is let through: the sink says so, and it becomes a dead letter that is seen.
        self.options.filter == Filter::default()
            || pending
                .event()
                .is_ok_and(|event| self.options.filter.passes(&event))
    }

    /// Starts as many calls as may run now.
    fn launch(&mut self, running: &mut Running) {
        let now = Instant::now();
        if running.resume_at.is_some_and(|at| at > now) {
            return;
        }
        // While it is not known whether the sink is back, one call finds out.
        let concurrency = if running.streak > 0 {
            1
        } else {
            self.sink.concurrency()
        };
        let batch = self.sink.batch_size();
        while running.tasks.len() < concurrency.max(1) {
            if let Some(limiter) = &mut running.limiter {
                if running.lanes.is_empty() || limiter.ready_at() > now {
                    return;
                }
                limiter.take(now);
            }
            let deliveries = if batch > 1 {
                if !running.tasks.is_empty() {
                    return;
                }
                running.take_oldest(batch)
            } else {
                let most = if running.limiter.is_some() || running.streak > 0 {
                    1
                } else {
                    LANE
                };
                running.take_lane(most)
            };
            if deliveries.is_empty() {
                return;
            }
            let subjects = deliveries
                .iter()
                .map(|delivery| delivery.subject.clone())
                .collect::<HashSet<_>>();
            running.busy.extend(subjects.iter().cloned());
            running.on_their_way += deliveries.len();
            let call = Call {
                sink: Arc::clone(&self.sink),
                evidence: self.evidence.clone(),
                inline: self.options.inline_evidence,
                name: self.options.name.clone(),
                dry_run: self.options.dry_run,
                together: batch > 1,
            };
            running
                .tasks
                .spawn(call.make(subjects.into_iter().collect(), deliveries));
        }
    }

    /// Writes down what became of events; returns false when the sink wants no more.
    async fn settle(&mut self, running: &mut Running, outcomes: Vec<Outcome>) -> Result<bool, StoreError> {
        let now = self.clock.wall();
        let mut delivered = Vec::new();
        let mut failed = Vec::new();
        for outcome in outcomes {
            for subject in &outcome.subjects {
                running.busy.remove(subject);
            }
            for delivery in outcome.delivered {
                let latency = Duration::try_from(now.duration_since(delivery.time)).unwrap_or_default();
                let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
                self.counters.last_latency_ms.store(latency_ms, Ordering::Relaxed);
                running.failures.remove(&delivery.sequence);
                if let Some(refresh) = &mut running.refresh {
                    refresh.note(&delivery);
                }
                delivered.push(delivery.sequence);
            }
            running.on_their_way = running.on_their_way.saturating_sub(outcome.count);
            if outcome.failed.is_some() {
                running.exhausted = false;
                running.stale = true;
            }
            failed.extend(outcome.failed);
        }
        if !delivered.is_empty() {
            let count = delivered.len() as u64;
            let (store, name) = (self.store.clone(), self.options.name.clone());
            blocking(move || store.delivered(&name, &delivered, now)).await?;
            self.counters.delivered.fetch_add(count, Ordering::Relaxed);
            self.come_back(running);
        }
        for (deliveries, error) in failed {
            if !self.note_failure(running, &deliveries, &error, now).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Runs work that blocks on the disk where it delays no other sink.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests;
