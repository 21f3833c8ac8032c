//! Tables.
//!
//! `fuzz/run csv -runs=10000000`

#![no_main]

use emberwatch::telemetry::csv::{ColumnMap, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _log = parse(&String::from_utf8_lossy(bytes), &ColumnMap::default());
});
