//! How far a camera's clock is off: its sender reports claim a time, and the arrival of each says how late it can be.
//!
//! A report cannot arrive before it was sent, so the smallest difference of the last minute is the clock's offset plus
//! the shortest way through the network.

use std::collections::VecDeque;

use crate::flow::time::MonotonicTime;

/// For how long a difference counts, in seconds.
const WINDOW_S: f64 = 60.0;

/// An offset beyond this is reported, in seconds.
pub const ALARM_S: f64 = 2.0;

/// Seconds from 1900, where NTP counts from, to 1970.
const NTP_TO_UNIX_S: u64 = 2_208_988_800;

/// Reports kept at most: one a second for the window.
const MOST_REPORTS: usize = 256;

/// Turns an NTP time of a sender report (32.32 bits) into seconds since 1970. Times in the upper half of the counter are
/// before 2036, those in the lower half after it.
#[must_use]
pub fn unix_of_ntp(ntp: u64) -> f64 {
    let seconds = ntp >> 32;
    let era = if seconds >= 1 << 31 { 0 } else { 1u64 << 32 };
    (seconds + era) as f64 - NTP_TO_UNIX_S as f64 + (ntp & 0xFFFF_FFFF) as f64 / 4_294_967_296.0
}

/// What is known of a camera's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockOffset {
    /// Seconds to add to the camera's time to get ours.
    pub offset_s: f64,
    /// Spread of the reports of the last minute above the smallest: the jitter of the way here, in seconds.
    pub jitter_s: f64,
    /// Reports it rests on.
    pub reports: usize,
    /// Whether the camera's clock is off by more than two seconds.
    pub alarm: bool,
}

/// Estimates the offset of one camera's clock from its sender reports.
#[derive(Clone, Debug, Default)]
pub struct ClockOffsetEstimator {
    differences: VecDeque<(MonotonicTime, f64)>,
}

impl ClockOffsetEstimator {
    /// Takes a report: when it arrived on both of our clocks (wall time in seconds since 1970), and the time it claims in
    /// seconds since 1970. Claims that are no numbers are left out.
    pub fn report(&mut self, arrived: MonotonicTime, arrived_unix_s: f64, claimed_unix_s: f64) {
        let difference_s = arrived_unix_s - claimed_unix_s;
        if !difference_s.is_finite() {
            return;
        }
        // A jump means that the camera's clock was set: what was learned before is void.
        if self.estimate().is_some_and(|known| {
            difference_s < known.offset_s - ALARM_S || difference_s > known.offset_s + 10.0
        }) {
            self.differences.clear();
        }
        self.differences.push_back((arrived, difference_s));
        while self.differences.len() > MOST_REPORTS
            || self
                .differences
                .front()
                .is_some_and(|(then, _)| arrived.since(*then).as_secs_f64() > WINDOW_S)
        {
            self.differences.pop_front();
        }
    }

    /// Returns the offset, once there was a report.
    #[must_use]
    pub fn estimate(&self) -> Option<ClockOffset> {
        let (least, most) = self
            .differences
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), (_, value)| {
                (least.min(*value), most.max(*value))
            });
        least.is_finite().then(|| ClockOffset {
            offset_s: least,
            jitter_s: most - least,
            reports: self.differences.len(),
            alarm: least.abs() > ALARM_S,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: f64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn the_shortest_way_of_the_last_minute_counts() {
        let mut estimator = ClockOffsetEstimator::default();
        for (second, late_s) in [(0.0, 0.02), (10.0, 0.30), (20.0, 0.25)] {
            estimator.report(at(second), 1e9 + second + late_s, 1e9 + second);
        }
        let estimate = estimator.estimate().unwrap();
        assert!((estimate.offset_s - 0.02).abs() < 1e-6);
        assert!(!estimate.alarm);
        estimator.report(at(70.0), 1e9 + 70.4, 1e9 + 70.0);
        assert!(
            (estimator.estimate().unwrap().offset_s - 0.25).abs() < 1e-6,
            "the first is too old"
        );
    }

    #[test]
    fn a_clock_that_is_off_by_more_than_two_seconds_raises_the_alarm() {
        for off_s in [3.0, -3.0] {
            let mut estimator = ClockOffsetEstimator::default();
            estimator.report(at(0.0), 1e9 + off_s, 1e9);
            assert!(estimator.estimate().unwrap().alarm);
        }
        let mut estimator = ClockOffsetEstimator::default();
        estimator.report(at(0.0), f64::NAN, 1e9);
        assert_eq!(estimator.estimate(), None);
    }

    #[test]
    fn a_clock_that_was_set_is_learned_anew() {
        let mut estimator = ClockOffsetEstimator::default();
        estimator.report(at(0.0), 1e9, 1e9);
        estimator.report(at(1.0), 1e9 + 1.0, 1e9 - 3_600.0);
        assert!((estimator.estimate().unwrap().offset_s - 3_601.0).abs() < 1e-6);
    }

    #[test]
    fn ntp_times_of_both_eras_are_read() {
        assert!((unix_of_ntp(2_208_988_800 << 32)).abs() < 1e-9);
        assert!((unix_of_ntp((3_900_000_000u64 << 32) | 0x8000_0000) - 1_691_011_200.5).abs() < 1e-6);
        assert!(unix_of_ntp(1 << 32) > 2_085_000_000.0, "after 2036");
    }
}
