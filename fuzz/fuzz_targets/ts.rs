//! Transport streams.
//!
//! `fuzz/run ts -runs=10000000`

#![no_main]

use emberwatch::telemetry::ts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _log = ts::parse(bytes);
});
