//! DJI subtitles.
//!
//! `fuzz/run dji_srt -runs=10000000`

#![no_main]

use emberwatch::telemetry::dji_srt;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for sample in dji_srt::parse(bytes).samples {
        if let Some(place) = sample.position {
            assert!(place.lat.abs() <= 90.0 && place.lon.abs() <= 180.0);
        }
    }
});
