//! When the camera says that a picture was taken.
//!
//! `add-reference-timestamp-meta` of `rtspsrc` 1.22 serves RFC 7273 clocks only, so the sender reports are read from the
//! RTP session's statistics and joined with the RTP times that pass.

mod gst;

pub(crate) use gst::SenderClock;

use std::time::Duration;

use jiff::Timestamp;

use crate::flow::time::{CaptureClock, CaptureTime, MonotonicTime};
use crate::telemetry::clock_offset::{ClockOffset, ClockOffsetEstimator};

/// How often what a camera claims is compared with arrival.
const REPORTS_EVERY: Duration = Duration::from_secs(1);

/// Encoder, network and jitter buffer take from 0.1 to 1 s together.
pub(crate) const ARRIVAL_SIGMA_S: f64 = 0.5;

/// A sender report joins two clocks of the camera, to within some frames.
pub(crate) const REPORT_SIGMA_S: f64 = 0.05;

/// A time inside the picture is that picture's own.
pub(crate) const STAMP_SIGMA_S: f64 = 0.02;

/// Seconds between the origins of NTP (1900) and Unix (1970).
const NTP_TO_UNIX_S: u64 = 2_208_988_800;

/// One sender report: this RTP time is that moment of the camera's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderReport {
    /// 32.32 fixed point, seconds since 1900.
    pub(crate) ntp: u64,
    /// In units of the clock rate, wrapping.
    pub(crate) rtp: u32,
}

impl SenderReport {
    /// Returns when a packet with this RTP time was taken; nothing where the camera's clock was never set.
    pub(crate) fn taken_at(self, rtp: u32, clock_rate: u32) -> Option<Timestamp> {
        let seconds = (self.ntp >> 32).checked_sub(NTP_TO_UNIX_S)?;
        let nanos = ((self.ntp & 0xffff_ffff) * 1_000_000_000) >> 32;
        let report = Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()?;
        if clock_rate == 0 {
            return None;
        }
        // The difference of two wrapping counters is small and may be negative.
        let ticks = i64::from(rtp.wrapping_sub(self.rtp).cast_signed());
        let offset = jiff::SignedDuration::from_nanos(ticks * 1_000_000_000 / i64::from(clock_rate));
        report.checked_add(offset).ok()
    }
}

/// Says when pictures were taken, from what the camera claims and when its packets arrive.
#[derive(Debug, Default)]
pub(crate) struct CameraClock {
    offsets: ClockOffsetEstimator,
    reported: Option<MonotonicTime>,
}

impl CameraClock {
    /// Returns when a picture was taken of which the camera makes this claim, and that arrived at `arrived_at`.
    ///
    /// A clock that is off by more than two seconds would date a fire wrongly, and place it wrongly where telemetry comes
    /// by another way: then its own offset is taken out, so that what is left is the shortest way from the camera to
    /// here. Claims count once a second.
    pub(crate) fn taken(
        &mut self,
        claimed: CaptureTime,
        now: MonotonicTime,
        arrived_at: Timestamp,
    ) -> CaptureTime {
        let unix_s = |at: Timestamp| at.as_nanosecond() as f64 / 1e9;
        if self
            .reported
            .is_none_or(|reported| now.since(reported) >= REPORTS_EVERY)
        {
            self.reported = Some(now);
            self.offsets.report(now, unix_s(arrived_at), unix_s(claimed.at));
        }
        let offset = self.offsets.estimate().filter(|offset| offset.alarm);
        let corrected = offset.and_then(|offset| {
            let nanos = (offset.offset_s * 1e9) as i128;
            Timestamp::from_nanosecond(claimed.at.as_nanosecond().saturating_add(nanos)).ok()
        });
        match (offset, corrected) {
            (None, _) => claimed,
            (Some(_), corrected) => CaptureTime {
                at: corrected.unwrap_or(arrived_at),
                clock: CaptureClock::Arrival,
                sigma_s: ARRIVAL_SIGMA_S,
            },
        }
    }

    /// Returns how far the camera's clock is off.
    pub(crate) fn offset(&self) -> Option<ClockOffset> {
        self.offsets.estimate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtp_times_before_and_after_a_report_find_their_moment_also_over_the_wrap() {
        // 2026-01-01T00:00:00Z and a half.
        let unix = 1_767_225_600_u64;
        let report = SenderReport {
            ntp: ((unix + NTP_TO_UNIX_S) << 32) | 0x8000_0000,
            rtp: 45_000,
        };
        let at = |rtp| {
            report
                .taken_at(rtp, 90_000)
                .expect("the clock is set")
                .as_millisecond()
        };
        assert_eq!(at(45_000), 1_767_225_600_500);
        assert_eq!(at(135_000), 1_767_225_601_500);
        assert_eq!(at(0), 1_767_225_600_000);
        assert_eq!(at(0_u32.wrapping_sub(45_000)), 1_767_225_599_500);
    }

    #[test]
    fn a_camera_whose_clock_was_never_set_has_no_capture_time() {
        assert_eq!(
            SenderReport {
                ntp: 12 << 32,
                rtp: 0
            }
            .taken_at(0, 90_000),
            None
        );
        assert_eq!(
            SenderReport {
                ntp: u64::MAX,
                rtp: 0
            }
            .taken_at(0, 0),
            None
        );
    }

    #[test]
    fn a_clock_that_is_right_is_believed_and_one_that_is_off_is_corrected_and_told() {
        let start: Timestamp = "2026-05-01T10:00:00Z".parse().expect("a timestamp");
        for (off_s, is_wrong) in [(0_i64, false), (-1, false), (30, true), (-3_600, true)] {
            let mut clock = CameraClock::default();
            let mut last = None;
            for second in 0..20_i64 {
                let taken = start + jiff::SignedDuration::from_secs(second);
                let claimed = taken - jiff::SignedDuration::from_secs(off_s);
                // The way here takes from 0.2 to 0.5 s.
                let arrived = taken + jiff::SignedDuration::from_millis(200 + (second * 7 % 4) * 100);
                let now = MonotonicTime::from_origin(Duration::from_secs(second.unsigned_abs()));
                let claimed = CaptureTime {
                    at: claimed,
                    clock: CaptureClock::RtcpSenderReport,
                    sigma_s: REPORT_SIGMA_S,
                };
                last = Some((taken, claimed, clock.taken(claimed, now, arrived)));
            }
            let (taken, claimed, found) = last.expect("twenty pictures");
            let offset = clock.offset().expect("twenty reports");
            assert!((offset.offset_s - off_s as f64 - 0.2).abs() < 0.01, "{offset:?}");
            assert_eq!(offset.alarm, is_wrong, "{off_s} s");
            if is_wrong {
                assert_eq!(found.clock, CaptureClock::Arrival);
                assert!((found.at.duration_since(taken).as_secs_f64() - 0.2).abs() < 0.01);
            } else {
                assert_eq!(found, claimed);
            }
        }
    }
}
