//! KLV: MISB ST 0601 packets (the UAS datalink local set), read and written, and ST 0604 time stamps in video.

pub mod ber;

pub mod imapb;

pub mod packet;

pub mod read;

pub mod write;

pub mod sei;

pub mod sample;

pub mod of_pose;

#[cfg(feature = "video")]
pub mod gst;

pub use packet::UasPacket;
pub use read::{Counts, PacketReader};
pub use sample::{log_from_bytes, sample_of};

/// The universal key of the UAS datalink local set.
pub const UAS_KEY: [u8; 16] = [
    0x06, 0x0E, 0x2B, 0x34, 0x02, 0x0B, 0x01, 0x01, 0x0E, 0x01, 0x03, 0x01, 0x01, 0x00, 0x00, 0x00,
];

/// Returns the checksum of ST 0601: the 16-bit sum of big-endian words over everything from the first byte of the key
/// up to and with the length byte of the checksum item; an odd last byte is the high half of a word.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    // Sums of high and low bytes are kept apart: the loop becomes vector instructions.
    let (mut high, mut low) = (0u32, 0u32);
    let mut words = bytes.chunks_exact(2);
    for word in &mut words {
        if let [first, second] = word {
            high = high.wrapping_add(u32::from(*first));
            low = low.wrapping_add(u32::from(*second));
        }
    }
    if let [last] = words.remainder() {
        high = high.wrapping_add(u32::from(*last));
    }
    (high << 8).wrapping_add(low) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_the_standard_is_met() {
        assert_eq!(
            checksum(&[0x06, 0x0E, 0x2B, 0x34, 0x02, 0x00, 0x81, 0xBB]),
            0xB4FD
        );
        assert_eq!(checksum(&[0x01]), 0x0100);
        assert_eq!(checksum(&[]), 0);
    }
}
