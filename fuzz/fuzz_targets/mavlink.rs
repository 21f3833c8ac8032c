//! MAVLink: a stream gives the same in one piece and in many.
//!
//! `fuzz/run mavlink -runs=10000000`

#![no_main]

use emberwatch::telemetry::mavlink_stream::{MavlinkReader, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _log = parse(bytes);
    let mut whole = MavlinkReader::default();
    let mut pieces = MavlinkReader::default();
    let samples = whole.push(bytes, 1.7e9).len();
    let in_pieces: usize = bytes.chunks(13).map(|piece| pieces.push(piece, 1.7e9).len()).sum();
    assert_eq!(samples, in_pieces);
});
