//! Values in the order of their times, and where a moment falls among them.

use std::collections::VecDeque;

use crate::flow::pose::PoseRefusal;

/// How far a timeline reaches beyond what was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The most that the last sample is carried on, in seconds.
    pub extrapolation_s: f64,
    /// The longest gap that is bridged, in seconds.
    pub gap_s: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            extrapolation_s: 0.5,
            gap_s: 2.0,
        }
    }
}

/// A moment this close to a sample is that sample's moment, in seconds.
pub(super) const SAME_MOMENT_S: f64 = 1e-3;

/// Samples that go back in time are left out; after so many in a row the device's clock is taken to have been set.
const BACKWARDS_BEFORE_RESTART: u32 = 10;

/// Values in the order of their times.
#[derive(Clone, Debug)]
pub(super) struct Series<T> {
    pub(super) items: VecDeque<(f64, T)>,
    backwards: u32,
    capacity: usize,
}

/// Where a moment falls in a series.
pub(super) struct Place<'series, T> {
    pub(super) before: &'series (f64, T),
    pub(super) after: &'series (f64, T),
    /// Share of the way from `before` to `after`; beyond 0 to 1 outside the series.
    pub(super) share: f64,
    /// Seconds to the nearest sample.
    pub(super) age_s: f64,
}

impl<T> Series<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            items: VecDeque::new(),
            backwards: 0,
            capacity,
        }
    }

    /// Puts a value at the end. Returns whether it was taken.
    pub(super) fn push(&mut self, at_s: f64, value: T) -> bool {
        if !at_s.is_finite() {
            return false;
        }
        if let Some((last_s, last)) = self.items.back_mut() {
            if (at_s - *last_s).abs() < 1e-9 {
                *last = value;
                return true;
            }
            if at_s < *last_s {
                self.backwards += 1;
                if self.backwards < BACKWARDS_BEFORE_RESTART {
                    return false;
                }
                self.items.clear();
            }
        }
        self.backwards = 0;
        if self.items.len() >= self.capacity {
            self.items.pop_front();
        }
        self.items.push_back((at_s, value));
        true
    }

    pub(super) fn place(&self, at_s: f64, limits: Limits) -> Result<Place<'_, T>, PoseRefusal> {
        let next = self.items.partition_point(|(sample_s, _)| *sample_s < at_s);
        let after = self.items.get(next);
        let before = next.checked_sub(1).and_then(|index| self.items.get(index));
        let (before, after, outside_s) = match (before, after) {
            (None, None) => return Err(PoseRefusal::NoTelemetry),
            (Some(last), None) => {
                let neighbour = next.checked_sub(2).and_then(|index| self.items.get(index));
                (neighbour.unwrap_or(last), last, at_s - last.0)
            }
            (None, Some(first)) => (first, self.items.get(1).unwrap_or(first), first.0 - at_s),
            (Some(before), Some(after)) => {
                let (from_s, to_s) = (at_s - before.0, after.0 - at_s);
                let near = from_s.min(to_s);
                if after.0 - before.0 > limits.gap_s && near > SAME_MOMENT_S {
                    return Err(PoseRefusal::Gap {
                        seconds: after.0 - before.0,
                        allowed_s: limits.gap_s,
                    });
                }
                return Ok(Place {
                    before,
                    after,
                    share: if near <= SAME_MOMENT_S && from_s + to_s > limits.gap_s {
                        f64::from(to_s < from_s)
                    } else {
                        from_s / (from_s + to_s)
                    },
                    age_s: near,
                });
            }
        };
        if outside_s > limits.extrapolation_s {
            return Err(PoseRefusal::OutOfRange {
                seconds: outside_s,
                allowed_s: limits.extrapolation_s,
            });
        }
        let span_s = after.0 - before.0;
        Ok(Place {
            before,
            after,
            // Two samples too far apart say nothing about a speed: the nearer one is held.
            share: if span_s > 1e-6 && span_s <= limits.gap_s {
                (at_s - before.0) / span_s
            } else if at_s > after.0 {
                1.0
            } else {
                0.0
            },
            age_s: outside_s,
        })
    }

    /// Returns the value that holds at a moment: the last before it, or the first of all.
    pub(super) fn held(&self, at_s: f64) -> Option<&(f64, T)> {
        let next = self
            .items
            .partition_point(|(sample_s, _)| *sample_s <= at_s + SAME_MOMENT_S);
        self.items.get(next.saturating_sub(1))
    }

    pub(super) fn nearest(&self, at_s: f64, within_s: f64) -> Option<&T> {
        let next = self.items.partition_point(|(sample_s, _)| *sample_s < at_s);
        [next.checked_sub(1), Some(next)]
            .into_iter()
            .flatten()
            .filter_map(|index| self.items.get(index))
            .map(|(sample_s, value)| ((sample_s - at_s).abs(), value))
            .filter(|(away_s, _)| *away_s <= within_s)
            .min_by(|one, other| one.0.total_cmp(&other.0))
            .map(|(_, value)| value)
    }
}
