//! GPX tracks.
//!
//! `fuzz/run gpx -runs=10000000`

#![no_main]

use emberwatch::telemetry::gpx;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _log = gpx::parse(&String::from_utf8_lossy(bytes));
});
