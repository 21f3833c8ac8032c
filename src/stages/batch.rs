//! Gathers inputs of all sources into batches, fair by source.
//!
//! A batch closes when it is full or when its oldest input has waited its bound; it never waits for one input of each
//! source. On a CPU the batch size is one (measured best) and this stage only chooses whose turn it is: sources on alarm
//! share every second turn, so that however many others ask, a fire that is being watched is looked at.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::flow::source::SourceId;
use crate::flow::time::MonotonicTime;

/// When a batch closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchBounds {
    /// The most inputs in a batch.
    pub size: usize,
    /// The longest an input waits for company.
    pub wait: Duration,
}

/// Inputs that wait, by source, each in its order.
#[derive(Debug)]
struct Ring<T> {
    waiting: BTreeMap<SourceId, VecDeque<(MonotonicTime, T)>>,
    /// The source that was served last: the next in order is served first.
    served: Option<SourceId>,
}

impl<T> Ring<T> {
    const fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            served: None,
        }
    }

    fn next(&mut self) -> Option<T> {
        let source = self
            .served
            .as_ref()
            .and_then(|served| {
                let after = (std::ops::Bound::Excluded(served), std::ops::Bound::Unbounded);
                self.waiting.range::<SourceId, _>(after).next()
            })
            .or_else(|| self.waiting.first_key_value())
            .map(|(source, _)| source.clone())?;
        let queue = self.waiting.get_mut(&source)?;
        let (_, input) = queue.pop_front()?;
        if queue.is_empty() {
            self.waiting.remove(&source);
        }
        self.served = Some(source);
        Some(input)
    }
}

/// Gathers inputs and gives turns.
#[derive(Debug)]
pub struct Batcher<T> {
    bounds: BatchBounds,
    urgent: Ring<T>,
    usual: Ring<T>,
    /// Whether the last turn went to an urgent source.
    was_urgent: bool,
    count: usize,
}

impl<T> Batcher<T> {
    /// Makes a batcher without inputs.
    #[must_use]
    pub const fn new(bounds: BatchBounds) -> Self {
        Self {
            bounds,
            urgent: Ring::new(),
            usual: Ring::new(),
            was_urgent: false,
            count: 0,
        }
    }

    /// Adds an input of a source, which is urgent while the source is on alarm.
    pub fn add(&mut self, source: SourceId, is_urgent: bool, input: T, now: MonotonicTime) {
        // A source that changes its level keeps its place until what waits of it is served.
        let waits = |ring: &Ring<T>| ring.waiting.contains_key(&source);
        let is_urgent = waits(&self.urgent) || is_urgent && !waits(&self.usual);
        self.ring(is_urgent)
            .waiting
            .entry(source)
            .or_default()
            .push_back((now, input));
        self.count += 1;
    }

    /// Returns how many inputs wait.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Returns how long until the oldest input has waited its bound; `None` when nothing waits.
    #[must_use]
    pub fn patience(&self, now: MonotonicTime) -> Option<Duration> {
        let queues = self.urgent.waiting.values().chain(self.usual.waiting.values());
        let oldest = queues
            .filter_map(|queue| queue.front().map(|(since, _)| *since))
            .min()?;
        Some(self.bounds.wait.saturating_sub(now.since(oldest)))
    }

    /// Returns a batch if one is due: full, or its oldest input has waited its bound.
    pub fn due(&mut self, now: MonotonicTime) -> Option<Vec<T>> {
        if self.count >= self.bounds.size || self.patience(now) == Some(Duration::ZERO) {
            self.close()
        } else {
            None
        }
    }

    /// Returns the next batch, full or not; `None` when nothing waits. Sources take turns, one input each.
    pub fn close(&mut self) -> Option<Vec<T>> {
        let mut batch = Vec::new();
        while batch.len() < self.bounds.size {
            let Some(input) = self.take_turn() else { break };
            batch.push(input);
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Takes the input whose turn it is: urgent and usual sources in turn, while both have something waiting.
    fn take_turn(&mut self) -> Option<T> {
        for is_urgent in [!self.was_urgent, self.was_urgent] {
            if let Some(input) = self.ring(is_urgent).next() {
                self.was_urgent = is_urgent;
                self.count -= 1;
                return Some(input);
            }
        }
        None
    }

    const fn ring(&mut self, is_urgent: bool) -> &mut Ring<T> {
        if is_urgent {
            &mut self.urgent
        } else {
            &mut self.usual
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_millis(ms))
    }

    fn batcher(size: usize, wait_ms: u64) -> Batcher<(&'static str, u32)> {
        Batcher::new(BatchBounds {
            size,
            wait: Duration::from_millis(wait_ms),
        })
    }

    #[test]
    fn a_full_batch_goes_at_once() {
        let mut batcher = batcher(2, 50);
        batcher.add(SourceId::new("a"), false, ("a", 1), at(0));
        assert!(batcher.due(at(0)).is_none());
        batcher.add(SourceId::new("b"), false, ("b", 1), at(1));
        assert_eq!(batcher.due(at(1)), Some(vec![("a", 1), ("b", 1)]));
    }

    #[test]
    fn a_lonely_input_waits_no_longer_than_its_bound() {
        let mut batcher = batcher(8, 50);
        batcher.add(SourceId::new("a"), false, ("a", 1), at(10));
        assert_eq!(batcher.patience(at(30)), Some(Duration::from_millis(30)));
        assert!(batcher.due(at(59)).is_none());
        assert_eq!(batcher.due(at(60)), Some(vec![("a", 1)]));
        assert_eq!(batcher.patience(at(60)), None);
    }

    #[test]
    fn a_greedy_source_does_not_crowd_out_the_others() {
        let mut batcher = batcher(3, 50);
        for number in 0..9 {
            batcher.add(SourceId::new("greedy"), false, ("greedy", number), at(0));
        }
        batcher.add(SourceId::new("quiet"), false, ("quiet", 0), at(1));
        let first = batcher.due(at(1)).unwrap();
        assert!(first.contains(&("quiet", 0)), "{first:?}");
    }

    #[test]
    fn a_source_on_alarm_gets_every_second_turn_among_many() {
        let mut batcher = batcher(1, 50);
        for name in ["a", "b", "c", "d"] {
            for number in 0..3 {
                batcher.add(SourceId::new(name), false, (name, number), at(0));
            }
        }
        for number in 0..3 {
            batcher.add(SourceId::new("z"), true, ("z", number), at(1));
        }
        let turns: Vec<_> = std::iter::from_fn(|| batcher.close())
            .flatten()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(turns[..8], ["z", "a", "z", "b", "z", "c", "d", "a"]);
        assert_eq!(turns.len(), 15);
    }

    proptest! {
        #[test]
        fn every_input_comes_out_once_and_in_the_order_of_its_source(
            inputs in proptest::collection::vec((0_usize..4, any::<bool>()), 1..100),
            size in 1_usize..9,
        ) {
            let names = ["a", "b", "c", "d"];
            let mut batcher = batcher(size, 10);
            let mut sent = [0_u32; 4];
            for (source, is_urgent) in &inputs {
                batcher.add(SourceId::new(names[*source]), *is_urgent, (names[*source], sent[*source]), at(0));
                sent[*source] += 1;
            }
            let mut seen = [0_u32; 4];
            while let Some(batch) = batcher.close() {
                prop_assert!(batch.len() <= size);
                for (name, number) in batch {
                    let source = names.iter().position(|it| *it == name).unwrap();
                    prop_assert_eq!(number, seen[source]);
                    seen[source] += 1;
                }
            }
            prop_assert_eq!(seen, sent);
            prop_assert_eq!(batcher.count(), 0);
        }
    }
}
