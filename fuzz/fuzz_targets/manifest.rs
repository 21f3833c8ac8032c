//! Model manifests.
//!
//! `fuzz/run manifest -max_total_time=60`

#![no_main]

use std::path::Path;

use emberwatch::models::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _manifest = Manifest::parse(&String::from_utf8_lossy(bytes), Path::new("model.toml"));
});
