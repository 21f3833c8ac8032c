//! DJI Cloud API payloads.
//!
//! `fuzz/run dji_cloud -runs=10000000`

#![no_main]

use emberwatch::telemetry::dji_cloud::{DjiCloudSettings, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _log = parse(bytes, DjiCloudSettings::default());
});
