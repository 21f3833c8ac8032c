//! Photos and XMP.
//!
//! `fuzz/run photo -runs=10000000`

#![no_main]

use emberwatch::telemetry::photo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _log = photo::parse(bytes);
});
