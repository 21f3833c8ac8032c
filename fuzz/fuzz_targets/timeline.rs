//! Timelines of MAVLink logs, asked at moments that the input chooses.
//!
//! `fuzz/run timeline -runs=10000000`

#![no_main]

use emberwatch::telemetry::{Timeline, mavlink_stream};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, rest)) = bytes.split_at_checked(8) else { return };
    let log = mavlink_stream::parse(rest);
    let timeline = Timeline::of(&log);
    let at_s = f64::from_le_bytes(head.try_into().expect("eight bytes should be eight bytes"));
    if let Ok(pose) = timeline.pose_at(at_s) {
        assert!(pose.position.is_none_or(|place| place.lat.is_finite() && place.lon.is_finite()));
    }
});
