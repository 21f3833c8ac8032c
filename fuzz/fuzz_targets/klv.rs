//! ST 0601 packets: what is read and written again is read as the same.
//!
//! `fuzz/run klv -runs=10000000`

#![no_main]

use emberwatch::telemetry::klv::{PacketReader, sei, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for packet in PacketReader::new(bytes) {
        let written = write::to_bytes(&packet, None);
        let again = PacketReader::new(&written).next().expect("a written packet should be read");
        assert_eq!(packet.time_us, again.time_us);
    }
    let _time = sei::find(bytes);
});
