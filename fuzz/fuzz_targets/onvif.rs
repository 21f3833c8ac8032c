//! ONVIF answers.
//!
//! `cargo +nightly fuzz run onvif -- -runs=10000000`

#![no_main]

use emberwatch::telemetry::onvif;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _status = onvif::parse_status(&String::from_utf8_lossy(bytes));
});
