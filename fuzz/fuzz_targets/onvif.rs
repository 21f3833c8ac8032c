//! ONVIF answers.
//!
//! `fuzz/run onvif -runs=10000000`

#![no_main]

use emberwatch::telemetry::onvif;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let _status = onvif::parse_status(&text);
    let _presets = onvif::parse_presets(&text);
});
