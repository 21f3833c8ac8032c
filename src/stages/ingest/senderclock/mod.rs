//! When the camera says that a picture was taken.
//!
//! `add-reference-timestamp-meta` of `rtspsrc` 1.22 serves RFC 7273 clocks only, so the sender reports are read from the
//! RTP session's statistics and joined with the RTP times that pass.

mod gst;

pub(crate) use gst::SenderClock;

use std::time::Duration;

use jiff::Timestamp;

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

/// Says whether a camera's clock can be believed, seen from ours: not ahead, and behind by no more than a minute.
///
/// A clock that is off by hours would date a fire wrongly in the report; the moment of arrival is then the better word.
pub(crate) fn is_believable(taken: Timestamp, arrived: Timestamp) -> bool {
    let behind = arrived.duration_since(taken);
    let behind_s = behind.as_secs_f64();
    (-1.0..Duration::from_mins(1).as_secs_f64()).contains(&behind_s)
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
    fn a_clock_that_is_hours_off_is_not_believed() {
        let now: Timestamp = "2026-05-01T10:00:00Z".parse().expect("a timestamp");
        let hour = jiff::SignedDuration::from_hours(1);
        let second = jiff::SignedDuration::from_secs(1);
        assert!(is_believable(now - second, now));
        assert!(!is_believable(now - hour, now));
        assert!(!is_believable(now + hour, now));
    }
}
