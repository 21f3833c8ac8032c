//! Pipeline files: sound, or refused with at least one problem.
//!
//! `fuzz/run pipeline -max_total_time=60`

#![no_main]

use std::path::Path;

use emberwatch::config::load;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problems) = load::parse(Path::new("fuzzed.toml"), &String::from_utf8_lossy(bytes)) {
        assert!(!problems.problems.is_empty());
    }
});
