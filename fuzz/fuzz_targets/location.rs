//! Addresses of cameras and recordings.
//!
//! `fuzz/run location -max_total_time=60`

#![no_main]

use emberwatch::stages::ingest::Location;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((location, _)) = Location::parse(&String::from_utf8_lossy(bytes)) {
        let _words = location.to_string();
    }
});
