//! Finds the packets in a stretch of bytes, whatever lies between them.

use super::packet::{PacketBuilder, UasPacket};
use super::{UAS_KEY, ber, checksum};

/// The part of the key that recorders keep even when they strip its common start.
const KEY_TAIL: [u8; 11] = {
    let mut tail = [0; 11];
    let mut index = 0;
    while index < 11 {
        tail[index] = UAS_KEY[index + 5];
        index += 1;
    }
    tail
};

/// What a recorder strips from the start of the key.
const KEY_HEAD: [u8; 5] = [UAS_KEY[0], UAS_KEY[1], UAS_KEY[2], UAS_KEY[3], UAS_KEY[4]];

/// The longest packet that is believed, in bytes.
const LONGEST_PACKET: usize = 1 << 16;

/// What was met while packets were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets whose checksum is right.
    pub packets: u64,
    /// Packets whose checksum is wrong.
    pub bad_checksums: u64,
    /// Packets without a checksum.
    pub without_checksum: u64,
    /// Packets whose key lacked its first bytes and was completed.
    pub completed_keys: u64,
    /// Keys that are followed by no whole packet.
    pub truncated: u64,
    /// Items of a wrong length in good packets.
    pub malformed_items: u64,
    /// Bytes between packets.
    pub skipped_bytes: u64,
}

/// Reads packet after packet out of bytes. Garbage is skipped; packets whose checksum is wrong or missing are counted
/// and left out.
#[derive(Clone, Debug)]
pub struct PacketReader<'bytes> {
    bytes: &'bytes [u8],
    at: usize,
    counts: Counts,
}

impl<'bytes> PacketReader<'bytes> {
    /// Starts reading at the first byte.
    #[must_use]
    pub fn new(bytes: &'bytes [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            counts: Counts::default(),
        }
    }

    /// Returns what was met so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns where the next packet is looked for, in bytes from the start.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// Finds the next key: where it starts and where the length follows, and whether its start was missing.
    fn find_key(&self) -> Option<(usize, usize, bool)> {
        let rest = self.bytes.get(self.at..)?;
        if rest.starts_with(&UAS_KEY) {
            return Some((self.at, self.at + UAS_KEY.len(), false));
        }
        let tail = rest
            .windows(KEY_TAIL.len())
            .position(|window| *window == KEY_TAIL)?;
        let tail_start = self.at + tail;
        let whole = tail >= KEY_HEAD.len() && rest.get(..tail).is_some_and(|head| head.ends_with(&KEY_HEAD));
        let start = if whole {
            tail_start - KEY_HEAD.len()
        } else {
            tail_start
        };
        Some((start, tail_start + KEY_TAIL.len(), !whole))
    }
}

/// Reads the items of a packet's value. Returns where the checksum's own value starts and the checksum, if it is there.
#[inline]
fn read_items(value: &[u8], packet: &mut PacketBuilder) -> Option<(usize, u16)> {
    let mut at = 0;
    while let Some(rest) = value.get(at..).filter(|rest| !rest.is_empty()) {
        // Nearly every item has a tag and a length of one byte each.
        let (tag, length, header) = if let [tag @ 0..0x80, length @ 0..0x80, ..] = rest {
            (u32::from(*tag), usize::from(*length), 2)
        } else {
            let (tag, tag_bytes) = ber::tag(rest)?;
            let (length, length_bytes) = ber::length(rest.get(tag_bytes..)?)?;
            (tag, length, tag_bytes + length_bytes)
        };
        let start = at + header;
        let Some(item) = value.get(start..start.checked_add(length)?) else {
            packet.packet.malformed_items += 1;
            return None;
        };
        if tag == 1 {
            return match item {
                [high, low] => Some((start, u16::from_be_bytes([*high, *low]))),
                _ => None,
            };
        }
        packet.read_item(tag, item);
        at = start + length;
    }
    None
}

impl Iterator for PacketReader<'_> {
    type Item = UasPacket;

    fn next(&mut self) -> Option<UasPacket> {
        loop {
            let Some((start, length_at, key_was_cut)) = self.find_key() else {
                self.counts.skipped_bytes += self.bytes.len().saturating_sub(self.at) as u64;
                self.at = self.bytes.len();
                return None;
            };
            self.counts.skipped_bytes += (start - self.at) as u64;
            let after_key = self.bytes.get(length_at..).unwrap_or_default();
            let value = ber::length(after_key)
                .filter(|(length, _)| *length <= LONGEST_PACKET)
                .and_then(|(length, bytes)| Some((bytes, after_key.get(bytes..bytes.checked_add(length)?)?)));
            let Some((length_bytes, value)) = value else {
                self.counts.truncated += 1;
                self.at = length_at;
                continue;
            };
            let value_at = length_at + length_bytes;
            let mut packet = PacketBuilder::default();
            let stated = read_items(value, &mut packet);
            let Some((checksum_at, stated)) = stated else {
                self.counts.without_checksum += 1;
                self.at = length_at;
                continue;
            };
            let summed = self.bytes.get(start..value_at + checksum_at).unwrap_or_default();
            let sum = if key_was_cut {
                // The head has an odd number of bytes, so what follows starts in the low half of a word.
                let (first, rest) = summed.split_at(1.min(summed.len()));
                let joined = [
                    KEY_HEAD[0],
                    KEY_HEAD[1],
                    KEY_HEAD[2],
                    KEY_HEAD[3],
                    KEY_HEAD[4],
                    first.first().copied().unwrap_or(0),
                ];
                checksum(&joined).wrapping_add(checksum(rest))
            } else {
                checksum(summed)
            };
            if sum != stated {
                self.counts.bad_checksums += 1;
                self.at = length_at;
                continue;
            }
            let packet = packet.finish();
            self.counts.packets += 1;
            self.counts.completed_keys += u64::from(key_was_cut);
            self.counts.malformed_items += u64::from(packet.malformed_items);
            self.at = value_at + value.len();
            return Some(packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixture;

    fn read(bytes: &[u8]) -> (Vec<UasPacket>, Counts) {
        let mut reader = PacketReader::new(bytes);
        let packets = reader.by_ref().collect();
        (packets, reader.counts())
    }

    #[test]
    fn every_packet_of_the_truck_is_read() {
        let Some(bytes) = fixture::read("klv/Truck.klv") else {
            return;
        };
        let (packets, counts) = read(&bytes);
        assert_eq!(packets.len(), 711);
        assert_eq!(
            counts,
            Counts {
                packets: 711,
                ..Counts::default()
            }
        );
        let first = packets[0];
        assert!((first.sensor_lat_deg.unwrap() - 41.1).abs() < 0.1);
        assert!((first.sensor_lon_deg.unwrap() + 104.87).abs() < 0.1);
    }

    #[test]
    fn the_example_whose_checksum_is_wrong_is_counted_and_left_out() {
        let Some(good) = fixture::read("klv/DynamicOnlyMISMMSPacketData.bin") else {
            return;
        };
        let Some(bad) = fixture::read("klv/DynamicConstantMISMMSPacketData.bin") else {
            return;
        };
        let (packets, counts) = read(&good);
        assert_eq!((packets.len(), counts.bad_checksums), (1, 0));
        let (packets, counts) = read(&bad);
        assert_eq!((packets.len(), counts.bad_checksums), (0, 1));
    }

    #[test]
    fn a_real_flight_with_an_invalid_gimbal_has_no_gimbal() {
        let Some(bytes) = fixture::read("klv/realflight.bin") else {
            return;
        };
        let (packets, counts) = read(&bytes);
        assert_eq!((packets.len(), counts.bad_checksums), (19, 0));
        for packet in packets {
            assert_eq!(packet.relative_elevation_deg, None);
            assert_eq!(packet.centre_lat_deg, None);
            assert_eq!(packet.centre_lon_deg, None);
            assert_eq!(packet.sensor_msl_m, None);
            assert!(packet.sensor_hae_m.unwrap() > 0.0);
            assert!((packet.sensor_lat_deg.unwrap() - 39.348).abs() < 0.01);
            assert!((packet.sensor_lon_deg.unwrap() + 9.321).abs() < 0.01);
        }
    }

    #[test]
    fn keys_that_lost_their_first_bytes_are_completed() {
        let Some(bytes) = fixture::read("klv/day.klv") else {
            return;
        };
        let (packets, counts) = read(&bytes);
        assert_eq!(packets.len(), 6);
        assert_eq!(
            counts,
            Counts {
                packets: 6,
                completed_keys: 6,
                // The target width takes four bytes there instead of two.
                malformed_items: 6,
                ..Counts::default()
            }
        );
    }

    #[test]
    fn garbage_between_packets_costs_no_packet() {
        let Some(good) = fixture::read("klv/DynamicOnlyMISMMSPacketData.bin") else {
            return;
        };
        let mut bytes = vec![0x06, 0x0E, 0x2B, 0x00];
        bytes.extend_from_slice(&good);
        bytes.extend_from_slice(&UAS_KEY);
        bytes.extend_from_slice(&[0x84, 0xFF, 0xFF, 0xFF, 0xFF]);
        bytes.extend_from_slice(&good);
        bytes.extend_from_slice(&good[..50]);
        let (packets, counts) = read(&bytes);
        assert_eq!(packets.len(), 2);
        assert_eq!(counts.truncated, 2);
        assert!(counts.skipped_bytes > 4);
    }

    #[test]
    fn a_damaged_length_does_not_swallow_the_next_packet() {
        let Some(good) = fixture::read("klv/DynamicOnlyMISMMSPacketData.bin") else {
            return;
        };
        let mut bytes = good.clone();
        bytes[16] = 0x7F;
        bytes.extend_from_slice(&good);
        let (packets, _) = read(&bytes);
        assert_eq!(packets.len(), 1);
    }
}
