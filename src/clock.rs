//! Time is a parameter: whoever needs the time is given a [`Clock`]. Tests use [`SimulatedClock`] and never sleep.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::flow::time::MonotonicTime;

/// Tells the monotonic time, which measures, and the wall time, which labels.
pub trait Clock: Send + Sync {
    /// Returns the monotonic time since this clock's origin.
    fn monotonic(&self) -> MonotonicTime;

    /// Returns the wall time in UTC.
    fn wall(&self) -> Timestamp;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// Makes a clock whose monotonic origin is now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clocks"
    )]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> MonotonicTime {
        MonotonicTime::from_origin(self.origin.elapsed())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clocks"
    )]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still until it is told to move.
#[derive(Debug)]
pub struct SimulatedClock {
    state: Mutex<(Duration, Timestamp)>,
}

impl SimulatedClock {
    /// Makes a clock that shows `wall` and whose monotonic time is zero.
    #[must_use]
    pub fn new(wall: Timestamp) -> Self {
        Self {
            state: Mutex::new((Duration::ZERO, wall)),
        }
    }

    /// Moves both clocks forward; the wall clock stops at the end of its range.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = state.0.saturating_add(by);
        state.1 = state.1.checked_add(by).unwrap_or(Timestamp::MAX);
    }
}

impl Clock for SimulatedClock {
    fn monotonic(&self) -> MonotonicTime {
        MonotonicTime::from_origin(self.state.lock().unwrap_or_else(PoisonError::into_inner).0)
    }

    fn wall(&self) -> Timestamp {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}
