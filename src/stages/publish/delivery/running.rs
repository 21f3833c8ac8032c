//! Where a delivery loop stands: what it has read, what is on its way, and what it knows of the sink's trouble.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::call::Outcome;
use super::refresh::Refresh;
use crate::stages::publish::limit::Limiter;
use crate::stages::publish::sink::Delivery;

/// Where a loop stands.
pub(super) struct Running {
    pub(super) tasks: JoinSet<Outcome>,
    /// Subjects of which something is on its way.
    pub(super) busy: HashSet<String>,
    /// What was read and not yet sent: by first event, one incident each.
    pub(super) lanes: BTreeMap<i64, Vec<Delivery>>,
    pub(super) limiter: Option<Limiter>,
    /// Failures in a row.
    pub(super) streak: u32,
    /// While the sink cannot be reached: when to try again.
    pub(super) resume_at: Option<Instant>,
    /// How often each event failed while others got through, and at how many successes that was counted last.
    pub(super) failures: HashMap<i64, (u32, u64)>,
    /// When an event that waits for its next attempt may be sent.
    pub(super) next_attempt: Option<Instant>,
    /// Whether the outbox should be read again.
    pub(super) stale: bool,
    /// How many events are on their way.
    pub(super) on_their_way: usize,
    /// Whether all that could be sent when the outbox was read last is here or on its way.
    pub(super) exhausted: bool,
    /// What is told again, for a sink that forgets.
    pub(super) refresh: Option<Refresh>,
}

impl Running {
    /// Begins with nothing read; the first thing to do is to look into the outbox.
    pub(super) fn new(calls_per_minute: Option<u32>) -> Self {
        Self {
            tasks: JoinSet::new(),
            busy: HashSet::new(),
            lanes: BTreeMap::new(),
            limiter: calls_per_minute.map(|rate| Limiter::new(rate, 1, Instant::now())),
            streak: 0,
            resume_at: None,
            failures: HashMap::new(),
            next_attempt: None,
            stale: true,
            on_their_way: 0,
            exhausted: false,
            refresh: None,
        }
    }

    /// Returns whether the loop may end: nothing on its way, and nothing that could be sent now.
    pub(super) fn is_drained(&self) -> bool {
        let nothing_to_send = self.lanes.is_empty() && !self.stale;
        self.tasks.is_empty() && (nothing_to_send || self.resume_at.is_some() || self.limiter.is_some())
    }

    pub(super) fn has_room(&self, concurrency: usize) -> bool {
        self.tasks.len() < concurrency.max(1)
    }

    /// Takes the incident whose event is oldest; what is left of it stays behind what was read for others.
    pub(super) fn take_lane(&mut self, most: usize) -> Vec<Delivery> {
        let Some((_, mut lane)) = self.lanes.pop_first() else {
            return Vec::new();
        };
        if lane.len() > most {
            // The rest comes again from the outbox once these are settled.
            lane.truncate(most);
            self.exhausted = false;
        }
        lane
    }

    /// Takes the oldest events, whatever their incident.
    pub(super) fn take_oldest(&mut self, most: usize) -> Vec<Delivery> {
        let mut all = std::mem::take(&mut self.lanes)
            .into_values()
            .flatten()
            .collect::<Vec<_>>();
        all.sort_by_key(|delivery| delivery.sequence);
        if all.len() > most {
            all.truncate(most);
            self.exhausted = false;
        }
        all
    }
}
